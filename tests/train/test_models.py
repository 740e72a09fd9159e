"""``models.Sequential`` and ``models.Model`` serve wherever people use a class."""

from __future__ import annotations

import abc
import copy
import dataclasses
import functools
import inspect
import pickle
import typing

import keras
import pytest
from keras import layers

import convmill
from convmill import models
from tests.train.nets import ALL, SHAPE, X, Y, compiled, seeded_fit, use_all


def sequential():
    return models.Sequential([keras.Input(SHAPE), layers.Flatten(), layers.Dense(3)])


def graph():
    """The tensors at both ends of a functional model."""
    inputs = keras.Input(SHAPE)
    return inputs, layers.Dense(3)(layers.Flatten()(inputs))


class Net(models.Model):
    """With a call of its own."""

    def __init__(self, units: int = 3, **options):
        super().__init__(**options)
        self.units = units
        self.flat, self.dense = layers.Flatten(), layers.Dense(units)

    def call(self, inputs):
        return self.dense(self.flat(inputs))

    def get_config(self):
        return {**super().get_config(), "units": self.units}


class Stack(models.Sequential):
    """With a constructor of its own."""

    def __init__(self, units: int = 3):
        super().__init__([keras.Input(SHAPE), layers.Flatten(), layers.Dense(units)])


DOORS = {"Sequential": keras.Sequential, "Model": keras.Model}


@pytest.mark.parametrize("name", DOORS)
def test_they_are_classes(name):
    door, plain = getattr(models, name), DOORS[name]
    assert isinstance(door, type)
    assert door is getattr(convmill, name)
    assert door is copy.copy(door) is copy.deepcopy(door) is pickle.loads(pickle.dumps(door))
    assert (door.__name__, door.__module__, door.__doc__) == (
        name,
        "convmill.models",
        plain.__doc__,
    )
    assert inspect.signature(door) == inspect.signature(plain)
    assert repr(door) == f"<class 'convmill.models.{name}'>"
    assert hash(door) != hash(plain)
    assert {door: 1}[door] == 1


def test_is_a_subclass():
    for door in (models.Sequential, models.Model):
        assert issubclass(door, door)
        assert issubclass(door, (keras.Model, keras.layers.Layer))
        assert not issubclass(layers.Dense, door)
    assert issubclass(models.Sequential, keras.Sequential)
    assert issubclass(models.Sequential, models.Model)
    assert issubclass(keras.Sequential, models.Model)
    assert issubclass(keras.Model, models.Model)
    assert not issubclass(models.Model, models.Sequential)
    assert issubclass(Net, models.Model)
    assert not issubclass(Net, models.Sequential)
    assert issubclass(Stack, models.Sequential)
    assert not issubclass(keras.Model, Net)
    with pytest.raises(TypeError):
        issubclass(3, models.Model)


def test_is_an_instance():
    functional = models.Model(*graph())
    assert isinstance(sequential(), (models.Sequential, int))
    assert isinstance(sequential(), models.Sequential | None)
    assert isinstance(keras.Sequential(), models.Model)
    assert isinstance(functional, models.Model)
    assert not isinstance(functional, models.Sequential)
    assert isinstance(Net(), models.Model)
    assert isinstance(Net(), Net)
    assert not isinstance(functional, Net)
    assert not isinstance(None, models.Model)


def test_in_annotations():
    def use(
        one: models.Sequential | None,
        two: typing.Optional[models.Model],  # noqa: UP045
        three: type[models.Model],
        four: models.Model | None,
        five: list[models.Sequential],
    ) -> models.Model: ...

    found = typing.get_type_hints(use)
    assert found["one"] == models.Sequential | None
    assert found["two"] == found["four"] == models.Model | None
    assert typing.get_args(found["three"]) == (models.Model,)
    assert typing.get_args(found["five"]) == (models.Sequential,)
    assert found["return"] is models.Model

    @dataclasses.dataclass
    class Run:
        model: models.Model | None = None
        kind: type[models.Model] = models.Sequential

    assert Run().kind is models.Sequential


def test_in_a_match():
    def kind(thing):
        match thing:
            case models.Sequential(name=name):
                return f"sequential {name}"
            case models.Model(inputs=[_]):
                return "functional"
            case models.Model() | None:
                return "another or none"
        return "no model"

    assert kind(models.Sequential(name="net")) == "sequential net"
    assert kind(models.Model(*graph())) == "functional"
    assert kind(Net()) == kind(None) == "another or none"
    assert kind(3) == "no model"


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_as_keys_of_single_dispatch(order):
    kind = functools.singledispatch(lambda thing: "object")
    for each in order:
        door = (models.Model, models.Sequential)[each]
        kind.register(door)(lambda thing, name=door.__name__: name)
    assert kind(sequential()) == kind(keras.Sequential()) == kind(Stack()) == "Sequential"
    assert kind(models.Model(*graph())) == kind(keras.Model()) == kind(Net()) == "Model"
    assert kind(3) == "object"
    kind.register(Net)(lambda thing: "Net")
    assert kind(Net()) == "Net"
    kind.register(keras.Sequential)(lambda thing: "Keras'")
    assert kind(sequential()) == kind(Stack()) == "Keras'"

    @kind.register
    def _(thing: models.Sequential | int) -> str:
        return "annotated"

    assert kind(3) == "annotated"


@pytest.mark.parametrize(
    "make",
    [
        lambda one, two: models.Model(one, two),
        lambda one, two: models.Model(inputs=one, outputs=two),
        lambda one, two: models.Model(one, outputs=two, name="net"),
        lambda one, two: models.Model([one], {"say": two}),
    ],
)
def test_functional_models_in_every_spelling(make):
    ours, theirs = make(*graph()), keras.Model(*graph())
    assert type(ours) is type(theirs)
    assert {"fit", "evaluate", "predict"} <= set(vars(ours))


def test_methods_of_the_class_run_compiled(runs):
    model = compiled(
        keras.Sequential([keras.Input(SHAPE), layers.Flatten(), layers.Dense(3)]), loss="mse"
    )
    models.Sequential.fit(model, X, Y, verbose=0)
    models.Model.predict(model, X, verbose=0)
    assert runs == ["train", "evaluate"]


# Derived classes --------------------------------------------------------------------------------


def test_a_subclass_with_a_call_of_its_own_runs_compiled(runs, capsys):
    use_all(compiled(Net()))
    assert runs == ALL
    assert not capsys.readouterr().err


def test_a_subclass_whose_call_is_not_known_runs_as_keras_runs_it(runs, capsys):
    class Sorting(Net):
        def call(self, inputs):
            return super().call(keras.ops.sort(inputs, axis=1))

    use_all(compiled(Sorting()))
    assert runs == []
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("convmill: ")


def test_a_subclass_with_a_train_step_of_its_own_keeps_it(runs, capsys):
    class Counting(models.Sequential):
        steps = 0

        def train_step(self, *args, **kwargs):
            Counting.steps += 1
            return super().train_step(*args, **kwargs)

    model = compiled(Counting([keras.Input(SHAPE), layers.Flatten(), layers.Dense(3)]), loss="mse")
    seeded_fit(model, X, Y)
    assert Counting.steps
    assert runs == []
    assert "train_step" in capsys.readouterr().err
    model.predict(X, verbose=0)
    assert runs == ["evaluate"]


def test_subclasses_of_both_kinds_live_side_by_side(runs):
    """Keras changes the bases of a class used as Model(inputs, outputs); ours must not suffer."""

    class Graph(models.Model):
        pass

    class Called(models.Model):
        def call(self, inputs):
            return inputs

    inputs, outputs = graph()
    seeded_fit(compiled(Graph(inputs, outputs), loss="mse"), X, Y)
    Called()
    seeded_fit(compiled(models.Model(inputs, outputs), loss="mse"), X, Y)
    seeded_fit(compiled(Stack(), loss="mse"), X, Y)
    assert runs == ["train"] * 3
    assert issubclass(models.Sequential, models.Model)


def test_subclasses_keep_what_classes_have():
    class Named(models.Model):
        found: typing.ClassVar[list[str]] = []

        def __init_subclass__(cls, label, **options):
            super().__init_subclass__(**options)
            Named.found.append(label)

    class Mixin:
        def greeting(self):
            return super().__init__.__name__

    class Both(Mixin, Named, models.Model, label="both"):
        pass

    assert Named.found == ["both"]
    assert Both().greeting() == "__init__"
    assert inspect.signature(Net) == inspect.signature(lambda units=3, **options: ...).replace(
        parameters=list(inspect.signature(Net.__init__).parameters.values())[1:]
    )

    class Abstract(models.Model, abc.ABC):
        @abc.abstractmethod
        def head(self): ...

    with pytest.raises(TypeError, match="abstract"):
        Abstract()

    class Registry(type(models.Model)):
        known: typing.ClassVar[list[str]] = []

        def __init__(cls, name, bases, namespace):
            super().__init__(name, bases, namespace)
            Registry.known.append(name)

    class Entered(models.Model, metaclass=Registry):
        pass

    assert Registry.known == ["Entered"]
    assert isinstance(Entered(), models.Model)


def test_a_subclass_goes_through_a_config_and_a_file(tmp_path):
    net = Net(units=5, name="net")
    net(X)
    assert Net.from_config(net.get_config()).units == 5
    net.save(tmp_path / "net.keras")
    again = models.load_model(tmp_path / "net.keras", custom_objects={"Net": Net})
    assert type(again) is Net
    assert again.units == 5
