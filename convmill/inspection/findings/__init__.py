"""What is worth a thought in a design. A rule is one function, and its name in ``RULES``."""

from __future__ import annotations

from dataclasses import replace

from convmill.inspection.findings.chains import (
    bias_before_normalization,
    hidden_softmax,
    linear_pair,
)
from convmill.inspection.findings.finding import CrossEntropy, Facts, Finding, Rule
from convmill.inspection.findings.lanes import idle_lanes
from convmill.inspection.findings.outputs import (
    clipped_output,
    logits_twice,
    loose_sigmoids,
    one_sided_logits,
    one_unit_of_several_classes,
    raw_output,
    softmax_as_yes_or_no,
    softmax_of_one,
)
from convmill.inspection.findings.sizes import (
    parameters_beyond_the_data,
    small_field,
    wide_flatten,
)
from convmill.inspection.findings.windows import (
    dead_end,
    dropped_border,
    mostly_padding,
    skipped_places,
)

__all__ = ["RULES", "CrossEntropy", "Facts", "Finding", "Rule", "find"]

# In the order in which findings are told: what cannot work, what cannot learn, what is wasted.
RULES: tuple[Rule, ...] = (
    dead_end,
    logits_twice,
    raw_output,
    clipped_output,
    one_sided_logits,
    softmax_of_one,
    one_unit_of_several_classes,
    loose_sigmoids,
    softmax_as_yes_or_no,
    small_field,
    wide_flatten,
    parameters_beyond_the_data,
    skipped_places,
    dropped_border,
    mostly_padding,
    hidden_softmax,
    linear_pair,
    bias_before_normalization,
    idle_lanes,
)


def find(facts: Facts, rules: tuple[Rule, ...] = RULES) -> tuple[Finding, ...]:
    """All that the rules have to say, in their order."""
    return tuple(
        replace(finding, rule=rule.__name__.replace("_", " "))
        for rule in rules
        for finding in rule(facts)
    )
