"""The networks of this package: what is special about each, once.

A new network adds its entry here. Auto classes, public names, shared tests, remote code and the model card read it.
"""

from .networks import Network, Paper

_SMALL_IN_A_LARGE_SLICE = (
    "It sees the whole slice at one scale: an organ or lesion that fills few pixels of it is likely to be missed."
)
_SLICE_BY_SLICE = "Each slice is segmented alone, so what it marks may break off between neighbouring slices."
_PENUMBRA = (
    "Its truth is the infarct on a diffusion MRI made within hours of the CT: tissue that is badly perfused but not "
    "yet infarcted looks much like it, and may be marked too."
)
_OTHER_MAPS = (
    "Perfusion maps of another vendor's software differ in scale and in how they treat a delayed bolus: expect other "
    "results on them."
)
_BRAINLES = "Brainlesion: Glioma, Multiple Sclerosis, Stroke and Traumatic Brain Injuries (BrainLes)"

_CHRONIC = "chronic stroke lesions on T1-weighted MRI, slice by slice"
_CHRONIC_TAGS = ("stroke", "brain", "mri", "t1w")
_DARK_AS_FLUID = (
    "A chronic lesion can be as dark as cerebrospinal fluid on a T1-weighted scan: wide sulci and large ventricles are "
    "likely false positives, and small or faint lesions are likely to be missed."
)

_FCN = Paper(
    title="Fully Convolutional Networks for Semantic Segmentation",
    authors="Long, Jonathan and Shelhamer, Evan and Darrell, Trevor",
    venue="IEEE Conference on Computer Vision and Pattern Recognition (CVPR)",
    short="CVPR 2015",
    year=2015,
    key="long2015fcn",
    arxiv="1411.4038",
    doi="10.1109/CVPR.2015.7298965",
    pages="3431--3440",
)
_SMOOTH_OUTLINES = (
    "Its masks are made at an eighth of the slice's resolution: outlines are smooth, thin parts are lost."
)

#: In the order in which they are shown.
NETWORKS = (
    Network(
        "clci-net",
        "CLCINetConfig",
        "CLCINetForSemanticSegmentation",
        name="CLCI-Net",
        task=_CHRONIC,
        paper=Paper(
            title="CLCI-Net: Cross-Level Fusion and Context Inference Networks for Lesion Segmentation of Chronic "
            "Stroke",
            authors="Yang, Hao and Huang, Weijian and Qi, Kehan and Li, Cheng and Liu, Xinfeng and Wang, Meiyun and "
            "Zheng, Hairong and Wang, Shanshan",
            venue="Medical Image Computing and Computer Assisted Intervention (MICCAI)",
            short="MICCAI 2019",
            year=2019,
            key="yang2019clcinet",
            arxiv="1907.07008",
            doi="10.1007/978-3-030-32248-9_30",
            pages="266--274",
        ),
        tags=_CHRONIC_TAGS,
        pitfalls=(_DARK_AS_FLUID, _SLICE_BY_SLICE),
        tiny={"base_width": 4},
    ),
    Network(
        "res-unet",
        "ResUNetConfig",
        "ResUNetForSemanticSegmentation",
        name="Residual U-Net",
        task=_CHRONIC,
        paper=Paper(
            title="Road Extraction by Deep Residual U-Net",
            authors="Zhang, Zhengxin and Liu, Qingjie and Wang, Yunhong",
            venue="IEEE Geoscience and Remote Sensing Letters",
            short="GRSL 2018",
            year=2018,
            key="zhang2018residualunet",
            arxiv="1711.10684",
            doi="10.1109/LGRS.2018.2802944",
            pages="749--753",
            journal=True,
        ),
        tags=_CHRONIC_TAGS,
        pitfalls=(
            "Trained as its recipe says it has seen twenty slices at the level of the basal ganglia only: elsewhere in "
            "the brain its masks are guesses.",
            _DARK_AS_FLUID,
        ),
        tiny={"base_width": 4},
    ),
    Network(
        "unet-bn",
        "UNetBNConfig",
        "UNetBNForSemanticSegmentation",
        name="U-Net with batch norm",
        task=_CHRONIC,
        paper=Paper(
            title="D-UNet: a dimension-fusion U shape network for chronic stroke lesion segmentation",
            authors="Zhou, Yongjin and Huang, Weijian and Dong, Pei and Xia, Yong and Wang, Shanshan",
            venue="IEEE/ACM Transactions on Computational Biology and Bioinformatics",
            short="TCBB 2021",
            year=2021,
            key="zhou2021dunet",
            arxiv="1908.05104",
            doi="10.1109/TCBB.2019.2939522",
            pages="940--950",
            journal=True,
        ),
        tags=_CHRONIC_TAGS,
        pitfalls=(_DARK_AS_FLUID, _SLICE_BY_SLICE),
        tiny={"base_width": 4},
    ),
    Network(
        "fcn-8s",
        "FCN8sConfig",
        "FCN8sForSemanticSegmentation",
        name="FCN-8s",
        task=_CHRONIC,
        paper=_FCN,
        tags=_CHRONIC_TAGS,
        pitfalls=(_SMOOTH_OUTLINES, _DARK_AS_FLUID, _SLICE_BY_SLICE),
        tiny={"base_width": 2},
    ),
    Network(
        "pspnet",
        "PSPNetConfig",
        "PSPNetForSemanticSegmentation",
        name="PSPNet",
        task=_CHRONIC,
        paper=Paper(
            title="Pyramid Scene Parsing Network",
            authors="Zhao, Hengshuang and Shi, Jianping and Qi, Xiaojuan and Wang, Xiaogang and Jia, Jiaya",
            venue="IEEE Conference on Computer Vision and Pattern Recognition (CVPR)",
            short="CVPR 2017",
            year=2017,
            key="zhao2017pspnet",
            arxiv="1612.01105",
            doi="10.1109/CVPR.2017.660",
            pages="6230--6239",
        ),
        tags=_CHRONIC_TAGS,
        pitfalls=(_SMOOTH_OUTLINES, _DARK_AS_FLUID, _SLICE_BY_SLICE),
        tiny={"base_width": 4, "depth": 10},
    ),
    Network(
        "deeplabv3-plus",
        "DeepLabV3PlusConfig",
        "DeepLabV3PlusForSemanticSegmentation",
        name="DeepLabv3+",
        task=_CHRONIC,
        paper=Paper(
            title="Encoder-Decoder with Atrous Separable Convolution for Semantic Image Segmentation",
            authors="Chen, Liang-Chieh and Zhu, Yukun and Papandreou, George and Schroff, Florian and Adam, Hartwig",
            venue="European Conference on Computer Vision (ECCV)",
            short="ECCV 2018",
            year=2018,
            key="chen2018deeplabv3plus",
            arxiv="1802.02611",
            doi="10.1007/978-3-030-01234-2_49",
            pages="833--851",
        ),
        tags=_CHRONIC_TAGS,
        pitfalls=(
            "Its masks are made at a quarter of the slice's resolution: outlines are smooth, thin parts are lost.",
            _DARK_AS_FLUID,
            _SLICE_BY_SLICE,
        ),
        tiny={"base_width": 4, "depth": 10},
    ),
    Network(
        "dense-unet",
        "DenseUNetConfig",
        "DenseUNetForSemanticSegmentation",
        name="DenseUNet-167",
        task=_CHRONIC,
        paper=Paper(
            title="H-DenseUNet: Hybrid Densely Connected UNet for Liver and Tumor Segmentation from CT Volumes",
            authors="Li, Xiaomeng and Chen, Hao and Qi, Xiaojuan and Dou, Qi and Fu, Chi-Wing and Heng, Pheng-Ann",
            venue="IEEE Transactions on Medical Imaging",
            short="TMI 2018",
            year=2018,
            key="li2018hdenseunet",
            arxiv="1709.07330",
            doi="10.1109/TMI.2018.2845918",
            pages="2663--2674",
            journal=True,
        ),
        tags=_CHRONIC_TAGS,
        pitfalls=(_DARK_AS_FLUID, _SLICE_BY_SLICE),
        tiny={"base_width": 8, "growth_rate": 4, "block_layers": (1, 2, 2, 1)},
    ),
    Network(
        "l-snet",
        "LSNetConfig",
        "LSNetForSemanticSegmentation",
        name="L-SNet",
        task="an organ or lesion on CT or MRI slices: it finds regions, brings each to one scale and marks it there",
        paper=Paper(
            title="L-SNet: from Region Localization to Scale Invariant Medical Image Segmentation",
            authors="Xie, Jiahao and Zhang, Sheng and Lu, Jianwei and Luo, Ye",
            venue="IEEE International Conference on Image Processing (ICIP)",
            short="ICIP 2021",
            year=2021,
            key="xie2021lsnet",
            arxiv="2102.05971",
        ),
        tags=("organ", "pancreas", "ct"),
        pitfalls=(
            "What its first stage does not find is missing from the mask, however plain it is: look at the boxes in "
            "the run record and the preview.",
            "Each slice is segmented alone, so the organ may break off between neighbouring slices.",
        ),
        # A region even where the untrained heat map shows none, and the same one whenever a test asks.
        tiny={
            "base_width": 4,
            "locator_depth": 10,
            "segmenter_depth": 10,
            "no_region": "best-cell",
            "candidate_cells": 1,
            "gradient_decay": 1.0,
        },
        finds_regions=True,
        breaks_the_graph=True,
        largest_loss=4,  # of box, heat map and mask
    ),
    Network(
        "resnet-unet",
        "ResNetUNetConfig",
        "ResNetUNetForSemanticSegmentation",
        name="U-Net on a ResNet",
        task="an organ or its lesions on CT, slice by slice",
        paper=Paper(
            title="U-Net: Convolutional Networks for Biomedical Image Segmentation",
            authors="Ronneberger, Olaf and Fischer, Philipp and Brox, Thomas",
            venue="Medical Image Computing and Computer-Assisted Intervention (MICCAI)",
            short="MICCAI 2015",
            year=2015,
            key="ronneberger2015unet",
            arxiv="1505.04597",
            doi="10.1007/978-3-319-24574-4_28",
            pages="234--241",
        ),
        tags=("ct", "pancreas"),
        pitfalls=(_SMALL_IN_A_LARGE_SLICE, _SLICE_BY_SLICE),
        tiny={"base_width": 4, "depth": 10},
    ),
    Network(
        "attention-unet",
        "AttentionUNetConfig",
        "AttentionUNetForSemanticSegmentation",
        name="Attention U-Net on a ResNet",
        task="an organ or its lesions on CT, slice by slice",
        paper=Paper(
            title="Attention U-Net: Learning Where to Look for the Pancreas",
            authors="Oktay, Ozan and Schlemper, Jo and Le Folgoc, Loic and Lee, Matthew and Heinrich, Mattias and "
            "Misawa, Kazunari and Mori, Kensaku and McDonagh, Steven and Hammerla, Nils Y. and Kainz, Bernhard and "
            "Glocker, Ben and Rueckert, Daniel",
            venue="Medical Imaging with Deep Learning (MIDL)",
            short="MIDL 2018",
            year=2018,
            key="oktay2018attention",
            arxiv="1804.03999",
        ),
        tags=("ct", "pancreas"),
        pitfalls=(_SMALL_IN_A_LARGE_SLICE, _SLICE_BY_SLICE),
        tiny={"base_width": 4, "depth": 10},
    ),
    Network(
        "resnet-fcn",
        "ResNetFCNConfig",
        "ResNetFCNForSemanticSegmentation",
        name="FCN on a ResNet",
        task="an organ or its lesions on CT, slice by slice",
        paper=_FCN,
        tags=("ct", "pancreas"),
        pitfalls=(_SMOOTH_OUTLINES, _SLICE_BY_SLICE),
        tiny={"base_width": 4, "depth": 18},
    ),
    Network(
        "coarse-to-fine",
        "CoarseToFineConfig",
        "CoarseToFineForSemanticSegmentation",
        name="Coarse-to-fine network",
        task="an organ or its lesions on CT: it finds one region in each slice and marks it there, enlarged",
        paper=Paper(
            title="A Fixed-Point Model for Pancreas Segmentation in Abdominal CT Scans",
            authors="Zhou, Yuyin and Xie, Lingxi and Shen, Wei and Wang, Yan and Fishman, Elliot K. and "
            "Yuille, Alan L.",
            venue="Medical Image Computing and Computer-Assisted Intervention (MICCAI)",
            short="MICCAI 2017",
            year=2017,
            key="zhou2017fixedpoint",
            arxiv="1612.08230",
            doi="10.1007/978-3-319-66182-7_79",
            pages="693--701",
        ),
        tags=("ct", "pancreas"),
        pitfalls=(
            "What its first stage misses is missing from the mask, and one false spot far away makes the region large: "
            "look at the boxes.",
            _SLICE_BY_SLICE,
        ),
        # Crops that do not depend on chance.
        tiny={"base_width": 4, "first_stage_depth": 10, "second_stage_depth": 10, "jitter_probability": 0},
        finds_regions=True,
        breaks_the_graph=True,
        largest_loss=4,  # of several masks
        needs_its_border=True,
    ),
    Network(
        "ms-dcnn",
        "MSDCNNConfig",
        "MSDCNNForSemanticSegmentation",
        name="MS-DCNN",
        task="acute ischemic stroke on the four CT perfusion maps Tmax, CBF, CBV and MTT, slice by slice",
        paper=Paper(
            title="Multi-scale Deep Convolutional Neural Network for Stroke Lesions Segmentation on CT Images",
            authors="Liu, Liangliang and Yang, Shuai and Meng, Li and Li, Min and Wang, Jianxin",
            venue=_BRAINLES,
            short="BrainLes 2018",
            year=2018,
            key="liu2018msdcnn",
            doi="10.1007/978-3-030-11723-8_28",
            pages="283--291",
        ),
        tags=("stroke", "brain", "ct-perfusion"),
        pitfalls=(_PENUMBRA, _OTHER_MAPS, _SLICE_BY_SLICE),
        tiny={"base_width": 4, "growth_rate": 2, "block_layers": (2, 1, 1, 1), "up_widths": (8, 8, 4, 4)},
    ),
    Network(
        "egs-net",
        "EGSNetConfig",
        "EGSNetForSemanticSegmentation",
        name="Extractor, Generator and Segmentor",
        task="acute ischemic stroke on CT perfusion: it makes a diffusion MRI of it and marks the lesion there",
        paper=Paper(
            title="Integrated Extractor, Generator and Segmentor for Ischemic Stroke Lesion Segmentation",
            authors="Song, Tao and Huang, Ning",
            venue=_BRAINLES,
            short="BrainLes 2018",
            year=2018,
            key="song2018egs",
            doi="10.1007/978-3-030-11723-8_31",
            pages="310--318",
        ),
        tags=("stroke", "brain", "ct-perfusion"),
        pitfalls=(
            "The diffusion MRI that it generates is a means to the mask, not a scan: nobody measured what it shows.",
            _PENUMBRA,
            _OTHER_MAPS,
            _SLICE_BY_SLICE,
        ),
        tiny={"base_width": 4, "perceptual_widths": (2, 2, 2, 2, 4)},
        breaks_the_graph=True,
        largest_loss=None,  # a norm over all pixels and a logarithm
        extra_inputs={"dwi": 1},
        slow_to_trace=True,
    ),
)

#: What consists of networks that were trained one by one; nothing here is trained itself.
ENSEMBLES = (Network("fold-ensemble", "FoldEnsembleConfig", "FoldEnsembleForSemanticSegmentation"),)
