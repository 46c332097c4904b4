"""Prune a small classifier to 95 % while it trains, then convert and explain it."""

import torch
from torch import nn
from torch.nn import functional as F

import secateur as sc

STEPS = 200


def main() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(32, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 2)
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    schedule = sc.schedules.cubic(0.0, 0.95, steps=range(0, STEPS // 2, 10))
    pruner = sc.GradualPruner(model, optimizer, schedule=schedule)

    for step in range(STEPS):
        x = torch.randn(128, 32)
        y = (x[:, :16].sum(1) > x[:, 16:].sum(1)).long()
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        pruner.step()
        if step % 50 == 0:
            print(f"step {step:3d}  loss {loss.item():.3f}  sparsity {pruner.masks.sparsity:.2f}")
    pruner.detach()

    fast = sc.convert(model.eval(), torch.randn(128, 32))
    print(sc.explain(fast))


if __name__ == "__main__":
    main()
