"""The names of the backbone's architectures, apart from torch, which builds them."""

from enum import StrEnum


class ArchitectureName(StrEnum):
    """Names of the architectures, as torchvision has them."""

    VGG16 = "vgg16"
    SWIN_V2_B = "swin_v2_b"
    CONVNEXT_BASE = "convnext_base"
    VIT_L_16 = "vit_l_16"
