# Helpers of ../train.smk: which pre-trained model an FCL training starts from.
def seed_of_pretrained(wildcards):
    return study_of(wildcards).pretrained_models()[wildcards.pretrained]


def given_model(wildcards):
    """Weights and card of the model that takes the place of the pre-training, if there is one."""
    given = study_of(wildcards).pretrain.given
    return [] if given is None else [given, str(Path(given).with_suffix(".json"))]


def pretrained_file(suffix):
    """Input function for weights or card of the pre-trained model of an FCL training."""

    def path(wildcards):
        study = study_of(wildcards)
        seed = study.pretrain_seed(int(wildcards.seed))
        names = {seed: name for name, seed in study.pretrained_models().items()}
        return model_file(suffix, names[seed])(wildcards)

    return path
