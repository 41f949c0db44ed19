# Helpers of ../data.smk: the data of a study.
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
            if Path(path).is_file() and read_data_manifest(path).name == wildcards.dataset:
                return path, study.data.local_dir
    raise WorkflowError(f"no study of config.yaml has a manifest of the data set {wildcards.dataset!r}")


def split_entry(wildcards):
    entry = data_manifest(wildcards).splits.get(wildcards.split)
    if entry is None:
        raise WorkflowError(f"{study_of(wildcards).data.manifest}: splits.{wildcards.split} is missing")
    return entry


def source_entries(wildcards):
    """The entries of the manifest with the frames of a split, one per file: of all files if folds are dealt."""
    split_entry(wildcards)  # a specific error if the manifest lacks the split
    manifest = data_manifest(wildcards)
    entries = {entry.file: entry for entry in manifest.splits.values()}
    return [entries[file] for file in manifest.files_of(wildcards.split, study_of(wildcards).data)]


def source_files(wildcards):
    """The files with the frames of a split: downloaded if the manifest gives a URL, otherwise next to the manifest."""
    manifest = study_of(wildcards).data.manifest
    return [source_file(manifest, entry) for entry in source_entries(wildcards)]


def source_file(manifest, entry):
    """The file of an entry of the data manifest at the path ``manifest``."""
    name = read_data_manifest(manifest).name
    return str(Path(manifest).parent / entry.file) if entry.url is None else f"data/{name}/{entry.file}"


def source_checksums(wildcards):
    return [entry.checksum for entry in source_entries(wildcards)]


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


def check_subsets(study):
    """Raise an error for subsets missing in the data before anything runs, if the subsets are known."""
    for section in ("calibration", "observables"):
        for split in (study.calibration.split, "test"):
            subsets = getattr(study, section).subsets
            fault = read_data_manifest(study.data.manifest).fault_of_subsets(split, subsets)
            if fault:
                raise WorkflowError(f"studies.{study.name}.{section}.subsets: {fault}")


check_subsets(STUDY)
