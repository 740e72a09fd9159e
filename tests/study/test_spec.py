"""Reading a study: what is inherited, and what is wrong said with its key and the nearest one."""

from __future__ import annotations

import math
from datetime import date

import pytest

from convmill.study import catalogue, toml
from convmill.study.errors import StudyError
from convmill.study.spec import read_spec

ARMS = {"one": {"model": "notebook"}, "two": {"like": "one", "training": {"epochs": 7}}}


def read(**table):
    return read_spec({"arms": ARMS, **table}, "mine")


def test_a_study_of_two_designs_needs_no_more_than_these():
    spec = read()
    assert [(arm.name, arm.model, arm.training.epochs) for arm in spec.arms] == [
        ("one", "notebook", 5),
        ("two", "notebook", 7),
    ]
    assert spec.arms[0].seeds == tuple(range(1, 11))
    assert spec.compare == (("one", "two"),)
    assert spec.measures == ("accuracy",)


def test_arms_inherit_all_but_label_and_match():
    arms = {
        "a": {"model": "notebook", "label": "A", "arguments": {"dense": 8, "pooling": "max"}},
        "b": {"like": "a", "arguments": {"pooling": "none"}, "match": {"parameters": "a"}},
        "c": {"like": "b"},
    }
    spec = read(arms=arms)
    assert spec.arm("b").arguments == {"dense": 8, "pooling": "none"}
    assert (spec.arm("b").label, spec.arm("b").match.arm) == ("b", "a")
    assert (spec.arm("c").label, spec.arm("c").match) == ("c", None)


def test_what_varies_repeats_every_arm_and_every_pair():
    spec = read(vary={"key": "data.train", "values": [100, 300], "label": "images"})
    assert [(arm.name, arm.at, arm.data.train) for arm in spec.arms] == [
        ("one @ 100", 100, 100),
        ("one @ 300", 300, 300),
        ("two @ 100", 100, 100),
        ("two @ 300", 300, 300),
    ]
    assert spec.compare == (("one @ 100", "two @ 100"), ("one @ 300", "two @ 300"))


def test_the_quick_form_is_laid_over_the_full_one():
    table = {
        "arms": ARMS,
        "seeds": 9,
        "data": {"name": "digits", "test": 50},
        "quick": {"seeds": 2, "data": {"train": 10}},
    }
    spec = read_spec(table, "mine", quick=True)
    assert spec.arms[0].seeds == (1, 2)
    assert (spec.arms[0].data.name, spec.arms[0].data.test) == ("digits", 50)
    assert spec.arms[0].data.train == 10


WRONG = [
    ({"sedes": 3}, "no key 'sedes'. Did you mean 'seeds'?"),
    ({"data": {"nmae": "mnist"}}, "data: there is no key 'nmae'. Did you mean 'name'?"),
    ({"training": {"epoch": 3}}, "training: there is no key 'epoch'. Did you mean 'epochs'?"),
    ({"training": {"epochs": 0}}, "epochs must be a whole number of at least 1"),
    ({"training": {"decay": "cosin"}}, "Did you mean 'cosine'?"),
    ({"measures": ["acuracy"]}, "Did you mean 'accuracy'?"),
    ({"measures": []}, "measures must be a list of names"),
    ({"seeds": [1, 2, 1]}, "a seed may be named once only. Received: 1 twice"),
    ({"seeds": -1}, "seeds must be a number of seeds"),
    ({"arms": {}}, "has no arms"),
    ({"arms": {"a": {}}}, "arm 'a' has no model"),
    ({"arms": {"a": {"modle": "x"}}}, "there is no key 'modle'. Did you mean 'model'?"),
    ({"arms": {"a": {"like": "b"}, "bb": {"model": "x"}}}, "like must be one of a, bb"),
    ({"arms": {"a": {"like": "b"}, "b": {"like": "a"}}}, "is like itself"),
    ({"match": {"parameter": "one"}}, "Did you mean 'parameters'?"),
    ({"match": {"parameters": "thre"}}, "parameters must be one of one, two"),
    ({"reference": "tow"}, "Did you mean 'two'?"),
    ({"compare": [["one"]]}, "compare must be"),
    ({"compare": [[1, 2]]}, "compare must be"),
    ({"compare": [["one", ["two"]]]}, "compare must be"),
    ({"marks": {"x": math.nan}}, "marks.x must be a finite number. Received: marks.x = nan"),
    ({"marks": {"x": True}}, "x must be a number"),
    (
        {"arms": {"a": {"model": "x", "options": {"o": [{"day": date(2026, 1, 2)}]}}}},
        "arms.a.options.o.day must be a text, a number, true, false, a list or a table",
    ),
    ({"quick": {"training": {"learning_rate": math.inf}}}, "quick.training.learning_rate must be"),
    ({"vary": {"key": "train", "values": [1]}}, "key must be such as 'data.train'"),
    ({"vary": {"key": "data.train", "values": [1, 1]}}, "none of them twice"),
    ({"data": {"place": "corner"}}, "needs a canvas"),
    ({"quick": {"sedes": 1}}, "[quick]: there is no key 'sedes'"),
]


@pytest.mark.parametrize(("table", "words"), WRONG)
def test_what_is_wrong_names_its_key_and_what_would_work(table, words):
    with pytest.raises(StudyError) as raised:
        read_spec({"arms": ARMS, **table}, "mine", quick="quick" in table)
    assert words in str(raised.value)


def test_a_study_that_is_not_there_names_the_nearest():
    with pytest.raises(StudyError, match="Did you mean 'pooling'"):
        catalogue.load("poling")
    with pytest.raises(StudyError, match=r"nowhere\.toml: No such file"):
        catalogue.load("nowhere.toml")


@pytest.mark.parametrize("name", catalogue.names())
def test_shipped_studies_can_be_read_in_both_forms(name):
    full, quick = catalogue.load(name), catalogue.load(name, quick=True)
    assert full.question.endswith("?")
    assert quick.quick
    assert not full.quick


def test_what_is_written_is_read_again(tmp_path):
    table = {"text": 'a "b" \\ ü', "list": [1, 2.5, True], "deep": {"er": {"x y": 1}, "z": []}}
    path = tmp_path / "some.toml"
    path.write_text(toml.dumps(table), encoding="utf-8")
    assert catalogue.read_table(path) == table
