"""Labels that reach a network: 0 and 1, and nothing that would train as background without a word."""

import pytest
import torch

from hf_lesionseg.models.label_check import check_labels


@pytest.mark.parametrize("value", [2, 255, -1, -100])
def test_every_network_refuses_labels_that_it_would_train_as_background(make_model, make_batch, value):
    model, batch = make_model().train(), make_batch()
    batch["labels"][0, 20, :3] = value
    with pytest.raises(ValueError, match=rf"labels hold {value} \(3 pixels\), which would train as background"):
        model(**batch)


def test_more_logits_do_not_make_more_lesions(make_model, make_batch):
    """Of three logits, the second is the lesion; a label of 2 is no lesion to any loss here."""
    model, batch = make_model(num_logits=3), make_batch()
    model(**batch)
    batch["labels"] *= 2
    with pytest.raises(ValueError, match="labels hold 2 "):
        model(**batch)


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int8, torch.int64])
def test_masks_of_every_integer_type_train_alike(make_model, make_batch, dtype):
    model, batch = make_model().eval(), make_batch()
    expected = model(**batch).loss
    batch["labels"] = batch["labels"].to(dtype)
    torch.testing.assert_close(model(**batch).loss, expected)


def test_several_wrong_labels_are_listed_and_those_of_a_lesion_or_of_none_pass():
    logits = torch.zeros(1, 1, 4, 5)
    for labels in (torch.zeros(1, 4, 5, dtype=torch.long), torch.ones(1, 4, 5, dtype=torch.uint8)):
        check_labels(labels, logits)
    with pytest.raises(ValueError, match=r"labels hold 2, 3, 4, 5, 6, 7 \(18 pixels\)"):
        check_labels(torch.arange(20).reshape(1, 4, 5), logits)


@pytest.mark.parametrize("model_type", ["res-unet"], indirect=True)
def test_a_compiled_network_refuses_them_too(make_model, make_batch):
    torch.compiler.reset()
    model, batch = make_model().eval(), make_batch(32, 32)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(**batch).loss, model(**batch).loss, rtol=1e-4, atol=1e-5)
    batch["labels"] *= 255
    with pytest.raises(RuntimeError, match="another value than 0"):
        compiled(**batch)
