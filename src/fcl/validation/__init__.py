"""Physics with optimised cutoffs against a uniform cutoff: the same model, the same structures.

Stages of the study, as those of `fcl.stages`; each reads files and writes one JSON file a subset. Relaxation, equation
of state and phonons are computed at the start, and dynamics go on from the relaxed structures.
"""

from fcl.validation.nve import validate_nve
from fcl.validation.rdf import validate_rdf
from fcl.validation.statics import validate_statics

__all__ = ["validate_nve", "validate_rdf", "validate_statics"]
