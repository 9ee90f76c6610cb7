"""The choices that learning commands offer are those that the model has."""

from mernet.cli.learning.evaluation_split import EvaluationSplit
from mernet.model.architecture_name import ArchitectureName
from mernet.model.backbone import ARCHITECTURES
from mernet.model.training.data.data_set import Part
from mernet.model.training.finetuning.recipes import RECIPES, RecipeName


def test_every_part_of_a_split_can_be_evaluated_and_all_together():
    assert [*EvaluationSplit] == [*Part, "all"]


def test_every_architecture_and_every_recipe_has_a_name():
    assert [*ArchitectureName] == [*ARCHITECTURES]
    assert [*RecipeName] == [*RECIPES]
