import pytest

from xstilts.data import load_examples
from xstilts.errors import XstiltsError


def test_a_tag_outside_the_label_space_names_the_field_of_the_users_file(from_fixture):
    def damage(content):
        name = next(name for name in content["user"] if name.endswith("wo_wtb-ud-test.conllu"))
        content["user"][name] = "1\tYes\tyes\tINTJ\t_\t_\t0\t_\t_\t_\n\n1\tNo\tno\tINTERJ\t_\t_\t0\t_\t_\t_\n\n"

    task, sources = from_fixture("udpos_r", damage)
    with pytest.raises(XstiltsError, match=r"wo_wtb-ud-test.conllu: example 2: field 'UPOS' \(gold\): label outside"):
        load_examples(task, "test", ("wo",), sources)
