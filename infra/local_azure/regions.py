"""Azure's regions: the normal form (`swedencentral`) and the display name (`Sweden Central`) that
Microsoft.App returns.
"""

_DISPLAY = (
    "Australia East, Australia Southeast, Brazil South, Canada Central, Canada East, Central India,"
    " Central US, East Asia, East US, East US 2, France Central, Germany West Central, Italy North,"
    " Japan East, Japan West, Korea Central, North Central US, North Europe, Norway East, Poland"
    " Central, South Africa North, South Central US, South India, Southeast Asia, Spain Central,"
    " Sweden Central, Switzerland North, UAE North, UK South, UK West, West Central US, West"
    " Europe, West US, West US 2, West US 3, Austria East, Belgium Central, Chile Central, France"
    " South, Germany North, Indonesia Central, Israel Central, Jio India West, Malaysia West,"
    " Mexico Central, New Zealand North, Norway West, South Africa West, Switzerland West, UAE"
    " Central, West India, Central US EUAP, East US 2 EUAP, North Central US (Stage)"
)


def normal(location: str) -> str:
    """`Sweden Central` and `swedencentral` are one region to ARM, `North Central US (Stage)` is
    `northcentralusstage`.
    """
    return "".join(mark for mark in location.lower() if mark not in " ()")


REGIONS: dict[str, str] = {normal(name): name for name in _DISPLAY.split(", ")}

A100 = {
    "australiaeast",
    "brazilsouth",
    "canadacentral",
    "eastus",
    "italynorth",
    "swedencentral",
    "uksouth",
    "westus",
    "westus3",
}
T4 = A100 | {
    "centralindia",
    "francecentral",
    "japaneast",
    "northcentralus",
    "southcentralus",
    "southeastasia",
    "southindia",
    "westeurope",
    "westus2",
}


def display(location: str) -> str:
    return REGIONS.get(normal(location), location)


# Where geo-redundant storage keeps its second copy. The others have no pair and are their own.
_PAIRS = (
    "australiaeast australiasoutheast, canadacentral canadaeast, centralindia southindia, centralus"
    " eastus2, eastasia southeastasia, eastus westus, francecentral francesouth, germanywestcentral"
    " germanynorth, japaneast japanwest, koreacentral koreasouth, northcentralus southcentralus,"
    " northeurope westeurope, norwayeast norwaywest, southafricanorth southafricawest,"
    " swedencentral swedensouth, switzerlandnorth switzerlandwest, uaenorth uaecentral, uksouth"
    " ukwest, westcentralus westus2, westus eastus, westus3 eastus, brazilsouth southcentralus"
)
_PAIR: dict[str, str] = {}
for _first, _second in (entry.split() for entry in _PAIRS.split(", ")):
    _PAIR.setdefault(_first, _second)
    _PAIR.setdefault(_second, _first)


def pair(location: str) -> str:
    return _PAIR.get(normal(location), normal(location))
