import copy

import torch
from torch import nn

from hf_lesionseg.training.averaging import averaged_model


def test_the_average_follows_its_formula():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2)).double()
    averaged = averaged_model(model, 0.9)
    expected = None
    for step in range(30):
        with torch.no_grad():
            for tensor in (*model.parameters(), model[1].running_mean, model[1].running_var):
                tensor.add_(torch.randn_like(tensor))
            model[1].num_batches_tracked += 1
        averaged.update_parameters(model)
        present = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        decay = min(0.9, (1 + step) / (10 + step))
        if expected is None:
            expected = present
        for name, tensor in present.items():
            expected[name] = tensor if name.endswith("tracked") else decay * expected[name] + (1 - decay) * tensor
    for name, tensor in averaged.module.state_dict().items():
        torch.testing.assert_close(tensor, expected[name])


def test_a_restored_average_goes_on_as_if_nothing_had_happened():
    torch.manual_seed(0)
    model = nn.Linear(2, 2)
    averaged = averaged_model(model, 0.99)
    averaged.update_parameters(model)
    again = averaged_model(copy.deepcopy(model), 0.99)
    again.load_state_dict(averaged.state_dict())
    with torch.no_grad():
        model.weight.mul_(2)
    averaged.update_parameters(model)
    again.update_parameters(model)
    torch.testing.assert_close(again.module.weight, averaged.module.weight, rtol=0, atol=0)
    assert not any(parameter.requires_grad for parameter in averaged.parameters())
