"""Pictures of what a net holds, sees and gets wrong; each function returns a Matplotlib figure."""

from convmill.view.activations import activations
from convmill.view.confusion_matrix import confusion_matrix
from convmill.view.filters import filters
from convmill.view.intervals import intervals
from convmill.view.learning_curves import learning_curves
from convmill.view.maximization import activation_maximization
from convmill.view.mistakes import least_sure, mistakes
from convmill.view.patches import patches
from convmill.view.positions import positions
from convmill.view.receptive_field import receptive_field
from convmill.view.reliability import reliability
from convmill.view.responses import responses
from convmill.view.style import Picture
from convmill.view.trends import trends

__all__ = [
    "Picture",
    "activation_maximization",
    "activations",
    "confusion_matrix",
    "filters",
    "intervals",
    "learning_curves",
    "least_sure",
    "mistakes",
    "patches",
    "positions",
    "receptive_field",
    "reliability",
    "responses",
    "trends",
]
