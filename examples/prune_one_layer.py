"""Prune one layer by hand, look at every step, and compare the answers."""

import torch

import secateur as sc


def main() -> None:
    torch.manual_seed(0)
    linear = torch.nn.Linear(768, 3072)
    x = torch.randn(64, 768)

    masks = sc.prune(linear, pattern="2:4")
    print(masks)
    print(sc.verify(linear, masks, pattern="2:4"))

    sparse = sc.SparseLinear.from_dense(linear)
    difference = (sparse(x) - linear(x)).abs().max().item()
    print(f"largest difference to the masked dense layer: {difference:.1e}")


if __name__ == "__main__":
    main()
