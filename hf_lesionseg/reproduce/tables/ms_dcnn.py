"""The table of MS-DCNN (Liu et al., BrainLes 2018): the leaderboard of ISLES 2018."""

from .table import ReportedRow, Row, Table

TABLES = (
    Table(
        id="ms-dcnn-1",
        title="MS-DCNN in ISLES 2018",
        source="Liu et al., MS-DCNN, BrainLes 2018, doi:10.1007/978-3-030-11723-8_28, Table 1",
        data="ISLES 2018, 62 test cases",
        recipe="ms-dcnn-isles2018",
        columns=(
            "challenge_dc",
            "challenge_hd",
            "challenge_precision",
            "challenge_recall",
            "challenge_avd",
            "undefined_hd",
            "defined_hd",
        ),
        rows=(
            Row(
                "MS-DCNN (rank 5)",
                "ms-dcnn",
                {},
                {
                    "challenge_dc": (44.0, 30.0),
                    "challenge_hd": (19354857.71, 39507889.77),
                    "challenge_precision": (54.0, 36.0),
                    "challenge_recall": (44.0, 32.0),
                    "challenge_avd": (10.99, 12.70),
                    # Not printed, but the mean and the spread of its HD leave no other number.
                    "undefined_hd": 12,
                },
            ),
        ),
        generator="perfusion",
        reported_only=(
            ReportedRow(
                "songt1 (rank 1)",
                {
                    "challenge_dc": (51.0, 31.0),
                    "challenge_precision": 55.0,
                    "challenge_recall": 55.0,
                    "challenge_avd": (10.24, 9.94),
                },
            ),
        ),
        note="The challenge gives a Hausdorff distance of 1e8 to a case in which a mask is empty: its mean counts "
        "empty masks. The paper's 12 of 62 are derived from its mean and spread; it prints mm for AVD and means mL.",
    ),
)
