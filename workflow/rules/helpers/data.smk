# Helpers of ../data.smk: the data of a study.
from fcl.study.subsets import fault_of_subsets, stored_subsets


def store_settings(wildcards):
    """Settings of a graph store: the data and the range of its pairs, but neither the origin of the files nor the
    sampling of cutoffs."""
    reach = {"r_min": study_of(wildcards).cutoffs.r_max, "sampling": "atoms"}
    return settings(wildcards, data={"local_dir": None}, cutoffs=reach)


def study_of_dataset(wildcards):
    """A study whose manifest describes the data set of a download; the selected study takes precedence."""
    for study in (STUDY, *map(resolve, CONFIG.studies)):
        try:
            PLACES.manifest(study.data.manifest)
        except FileNotFoundError:
            continue
        if read_data_manifest(study.data.manifest).name == wildcards.dataset:
            return study
    raise WorkflowError(f"no study of config.yaml has a manifest of the data set {wildcards.dataset!r}")


def split_entry(wildcards):
    entry = data_manifest(wildcards).splits.get(wildcards.split)
    if entry is None:
        raise WorkflowError(f"{study_of(wildcards).data.manifest}: splits.{wildcards.split} is missing")
    return entry


def source_file(wildcards):
    """The frames of a split: downloaded if the manifest gives a URL, otherwise next to the manifest."""
    entry = split_entry(wildcards)
    if entry.url is None:
        return str(Path(PLACES.manifest(study_of(wildcards).data.manifest)).parent / entry.file)
    return f"data/{data_manifest(wildcards).name}/{entry.file}"


def split_of_file(wildcards):
    """A split contained in a downloaded file; a file is downloaded once, however many splits it contains."""
    study = study_of_dataset(wildcards)
    split = read_data_manifest(study.data.manifest).split_of_file(wildcards.file)
    if split is None:
        raise WorkflowError(f"{study.data.manifest}: no split has the file {wildcards.file}")
    return split


def frame_settings(wildcards):
    """Frame settings of a job's split from the data manifest."""
    split_entry(wildcards)  # a specific error if the manifest lacks the split
    return data_manifest(wildcards).frame_settings(wildcards.split)


def fitted_references(wildcards):
    """The store whose fitted reference energies are used for the other splits too: that of the training split."""
    if wildcards.split == "train" or not data_manifest(wildcards).fits_references():
        return []
    return store_file(wildcards.study, "train")


def described_store(study, split):
    """Metadata of a graph store: its run manifest, or the run manifests of the record."""
    folder = f"{NUMBERS}/{owner_of_store(CONFIG, study)}"
    return f"{folder}/manifest.json" if CONFIG.from_record else f"{folder}/stores/{split}.manifest.json"


def known_subsets(study, split):
    """The subsets in ``split``, from the data manifest or else from a graph store that is there; None if unknown."""
    entry = read_data_manifest(study.data.manifest).splits.get(split)
    if entry is None or entry.subsets is not None:
        return entry and [name for name, count in entry.subsets.items() if count]
    job = SimpleNamespace(study=study.name, split=split)
    built = Path(store_file(study.name, split)).with_suffix(".manifest.json")
    return stored_subsets(built, Path(source_file(job)), store_settings(job)["data"], frame_settings(job))


def check_subsets(study):
    """Raise an error for subsets missing in the data before anything runs, if the subsets are known."""
    for split in dict.fromkeys((study.calibration.split, "test")):
        known, name = known_subsets(study, split), read_data_manifest(study.data.manifest).name
        fault = None if known is None else fault_of_subsets(study, split, known, name)
        if fault:
            raise WorkflowError(fault)


if not CONFIG.from_record:
    check_subsets(STUDY)
