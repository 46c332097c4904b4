"""What a convolution is beside its weight: how an image becomes the rows of a product. Numbers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Convolution:
    """A 2-D convolution of one image size.

    Attributes:
        image: batch, channels, height and width of x.
        kernel_size: down, right; so are stride and dilation.
        padding: zeros around x: left, right, top, bottom, as `torch.nn.functional.pad` has it.
        groups: of channels.
    """

    image: tuple[int, int, int, int]
    kernel_size: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    @property
    def columns(self) -> int:
        """Columns of the weight: taps times channels of a group."""
        return self.kernel_size[0] * self.kernel_size[1] * (self.image[1] // self.groups)

    @property
    def out_size(self) -> tuple[int, int]:
        """Height and width of y; 0 where the kernel is larger than the padded x."""
        high, wide = (
            max(0, (size + before + after - dilation * (kernel - 1) - 1) // stride + 1)
            for size, before, after, kernel, stride, dilation in zip(
                self.image[2:],
                self.padding[2::-2],
                self.padding[3::-2],
                self.kernel_size,
                self.stride,
                self.dilation,
                strict=True,
            )
        )
        return high, wide

    @property
    def rows(self) -> int:
        """Pixels of y."""
        high, wide = self.out_size
        return self.image[0] * high * wide  # not int(): that would fix a traced batch

    @property
    def elements(self) -> int:
        """Elements of x."""
        batch, channels, high, wide = self.image
        return batch * channels * high * wide

    @property
    def words(self) -> str:
        """All but the batch, for keys and listings."""
        (kh, kw), (down, right), (_, _, high, wide) = self.kernel_size, self.stride, self.image
        dilated = (
            "" if self.dilation == (1, 1) else f" dilation {self.dilation[0]},{self.dilation[1]}"
        )
        grouped = "" if self.groups == 1 else f" groups {self.groups}"
        padding = ",".join(map(str, self.padding))
        return (
            f"{kh}x{kw} on {high}x{wide} stride {down},{right} padding {padding}{dilated}{grouped}"
        )
