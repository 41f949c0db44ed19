# Helpers of ../data.smk: the data of a study.
from fcl.study.subsets import fault_of_subsets, stored_subsets


def store_settings(wildcards):
    """Settings of a graph store: the data and the range of its pairs, but neither the origin of the files nor the
    sampling of cutoffs."""
    stored = study_of(wildcards).cutoffs.stored
    pairs = {"r_min": stored, "r_max": stored, "reach": None, "sampling": "atoms"}
    return settings(wildcards, data={"local_dir": None}, cutoffs=pairs)


def source_of_dataset(wildcards):
    """(data manifest, directory of files brought by hand) of the data set of a download; those of the selected study
    take precedence."""
    for study in (STUDY, *map(resolve, CONFIG.studies)):
        for path in (study.data.manifest, *study.external.manifests):
            try:
                PLACES.manifest(path)
            except FileNotFoundError:
                continue
            if read_data_manifest(path).name == wildcards.dataset:
                return path, study.data.local_dir
    raise WorkflowError(f"no study of config.yaml has a manifest of the data set {wildcards.dataset!r}")


def split_entry(wildcards):
    entry = data_manifest(wildcards).splits.get(wildcards.split)
    if entry is None:
        raise WorkflowError(f"{study_of(wildcards).data.manifest}: splits.{wildcards.split} is missing")
    return entry


def source_entries(study, split):
    """The entries of the manifest with the frames of a split, one per file: of all files if folds are dealt."""
    manifest = read_data_manifest(study.data.manifest)
    entries = {entry.file: entry for entry in manifest.splits.values()}
    return [entries[file] for file in manifest.files_of(split, study.data)]


def source_files(wildcards):
    """The files with the frames of a split: downloaded if the manifest gives a URL, otherwise next to the manifest."""
    split_entry(wildcards)  # a specific error if the manifest lacks the split
    study = study_of(wildcards)
    return [source_file(study.data.manifest, entry) for entry in source_entries(study, wildcards.split)]


def source_file(manifest, entry):
    """The file of an entry of the data manifest at the path ``manifest``."""
    name = read_data_manifest(manifest).name
    return (
        str(Path(PLACES.manifest(manifest)).parent / entry.file)
        if entry.url is None
        else f"data/{name}/{entry.file}"
    )


def source_checksums(wildcards):
    return [entry.checksum for entry in source_entries(study_of(wildcards), wildcards.split)]


def split_of_file(wildcards):
    """A split contained in a downloaded file; a file is downloaded once, however many splits it contains."""
    manifest, _ = source_of_dataset(wildcards)
    split = read_data_manifest(manifest).split_of_file(wildcards.file)
    if split is None:
        raise WorkflowError(f"{manifest}: no split has the file {wildcards.file}")
    return split


def frame_settings(wildcards):
    """Frame settings of a job's split from the data manifest and the study's folds or share of groups."""
    split_entry(wildcards)  # a specific error if the manifest lacks the split
    study = study_of(wildcards)
    try:
        return data_manifest(wildcards).frame_settings(wildcards.split, study.data)
    except ValueError as error:
        raise WorkflowError(f"studies.{study.name}.{error}")


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
    sources = [Path(file) for file in source_files(job)]
    return stored_subsets(built, sources, store_settings(job)["data"], frame_settings(job))


def check_subsets(study):
    """Raise an error for subsets missing in the data before anything runs, if the subsets are known."""
    for split in dict.fromkeys((study.calibration.split, "test")):
        known, name = known_subsets(study, split), read_data_manifest(study.data.manifest).name
        fault = None if known is None else fault_of_subsets(study, split, known, name)
        if fault:
            raise WorkflowError(fault)


if not CONFIG.from_record:
    check_subsets(STUDY)
