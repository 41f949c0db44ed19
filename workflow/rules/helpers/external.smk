# Helpers of ../external.smk: test sets beside the test split, by the name of their data manifest.
def external_manifest(wildcards):
    """Path of the data manifest of an external test set."""
    for path in study_of(wildcards).external.manifests:
        if read_data_manifest(path).name == wildcards.dataset:
            return path
    raise WorkflowError(f"studies.{wildcards.study}.external.manifests: none is of {wildcards.dataset!r}")


def external_entry(wildcards):
    """The entry of the test split in its data manifest."""
    return read_data_manifest(external_manifest(wildcards)).splits["test"]


def external_sets(study):
    """Names of the external test sets. Raises an error for a manifest without a test split."""
    found = {path: read_data_manifest(path) for path in study.external.manifests}
    for path, manifest in found.items():
        if "test" not in manifest.splits:
            raise WorkflowError(f"studies.{study.name}.external.manifests: {path}: splits.test is missing")
    return [manifest.name for manifest in found.values()]


def external_cutoffs(wildcards):
    """The cutoffs of static models for FCL, its own for any other model."""
    study = study_of(wildcards)
    return cutoffs_of(study) if wildcards.model.startswith("fcl_") else evaluated_cutoffs(wildcards)


def external_errors(wildcards):
    """Errors per structure of FCL and static models and of trivial predictions on an external test set."""
    study = study_of(wildcards)
    names = ["trivial", *fcl_models(study), *static_models(study)]
    return [f"{NUMBERS}/{study.name}/external/{wildcards.dataset}/{name}.csv.gz" for name in names]
