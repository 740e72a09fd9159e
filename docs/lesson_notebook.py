"""Writes and runs examples/lesson.ipynb: docs/lesson.md in short, in Python.

    python docs/lesson_notebook.py

The cells stand here, so that what changes in them can be read; the notebook holds what they showed.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import nbformat
from jupyter_client import AsyncKernelManager
from nbclient import NotebookClient
from nbformat import v4

ROOT = Path(__file__).parent.parent
NOTEBOOK = ROOT / "examples" / "lesson.ipynb"
SECONDS = 1200

CELLS = (
    (
        "markdown",
        """# A convnet, looked at before and after training

The short version of [docs/lesson.md](../docs/lesson.md). Nothing here is special to this
net: put your own Keras model and images in.""",
    ),
    (
        "code",
        """import numpy as np

import convmill
from convmill import data, layers, models, utils, view

digits, fallback = data.load_mnist_or_digits()
print(f"{len(digits.x_train):,} images of {digits.name} to learn from")
x_train = digits.x_train[..., np.newaxis] / np.float32(255)
x_test = digits.x_test[..., np.newaxis] / np.float32(255)
y_train, y_test = utils.to_categorical(digits.y_train), utils.to_categorical(digits.y_test)""",
    ),
    (
        "markdown",
        """## Before training

Shapes, arithmetic and receptive fields follow from the layers alone.""",
    ),
    (
        "code",
        """def convnet(pooling):
    model = models.Sequential(name="pooled" if pooling else "unpooled")
    model.add(layers.Input((28, 28, 1)))
    for filters in (32, 64, 64):
        if pooling and filters == 64:
            model.add(layers.MaxPooling2D())
        model.add(layers.Conv2D(filters, 3, activation="relu"))
    model.add(layers.Flatten())
    model.add(layers.Dense(64, activation="relu"))
    model.add(layers.Dense(10, activation="softmax"))
    model.compile("rmsprop", "categorical_crossentropy", metrics=["accuracy"])
    return model


utils.set_random_seed(0)
model = convnet(pooling=True)
convmill.inspect(model, images=len(x_train))""",
    ),
    ("markdown", """What would it be without pooling?"""),
    (
        "code",
        """before = convmill.inspect(model)
convmill.compare(before, convmill.inspect(convnet(pooling=False)))""",
    ),
    (
        "markdown",
        """## Training

On convmill's compiled engine, with Keras' own `fit`.""",
    ),
    (
        "code",
        """history = model.fit(
    x_train, y_train, epochs=5, batch_size=64, validation_split=0.2, verbose=2
)
view.learning_curves(history)""",
    ),
    ("markdown", """## What it computes"""),
    (
        "code",
        """image = x_test[0]
first, second, third = [layer.name for layer in model.layers if layer.name.startswith("conv")]
view.patches(model, image, first, filter=20)""",
    ),
    ("code", """view.responses(model, image, first)"""),
    ("markdown", """## What a unit of the last convolution sees"""),
    ("code", """view.receptive_field(model, third, images=x_test[:256])"""),
    ("markdown", """## What it gets wrong"""),
    ("code", """view.mistakes(model, x_test, y_test, most=12)"""),
)


def build() -> nbformat.NotebookNode:
    """The notebook, not run."""
    notebook = v4.new_notebook()
    notebook.metadata["kernelspec"] = {
        "name": "python3",
        "display_name": "Python 3",
        "language": "python",
    }
    make = {"code": v4.new_code_cell, "markdown": v4.new_markdown_cell}
    for number, (kind, text) in enumerate(CELLS):
        notebook.cells.append(make[kind](text, id=f"cell-{number}"))
    return notebook


def main() -> None:
    """Run the notebook and write it."""
    notebook = build()
    with tempfile.TemporaryDirectory() as folder:  # for the kernel's sockets: none on a network
        kernel = AsyncKernelManager(kernel_name="python3", transport="ipc", ip=f"{folder}/kernel")
        NotebookClient(notebook, km=kernel, timeout=SECONDS).execute()
    for cell in notebook.cells:  # times of the run are noise to whoever reads the changes
        cell.metadata.pop("execution", None)
    nbformat.write(notebook, NOTEBOOK)
    print(f"Wrote {NOTEBOOK.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
