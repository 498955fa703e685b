"""Microsoft.Storage/storageAccounts: holds the share. Data-bearing: kept when its document goes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from reconciler.api.kinds import Kind
from reconciler.api.resources import ResourceSpec
from reconciler.arm import ids, storage
from reconciler.engine.external import Change, Desired, Facts, Identity, Operation
from reconciler.engine.rules import IN_PLACE
from reconciler.kinds.arm_resource import ArmResource
from reconciler.kinds.comparison import with_common

# Azure moves an account within each group in place; between them it takes a conversion.
_MOVES = (
    {"standard_lrs", "standard_grs", "standard_ragrs"},
    {"standard_zrs", "standard_gzrs", "standard_ragzrs"},
)
_OFF = (  # booleans that are false where they are absent; shared keys are allowed there
    "isHnsEnabled",
    "isSftpEnabled",
    "isLocalUserEnabled",
    "isNfsV3Enabled",
    "enableExtendedGroups",
    "defaultToOAuthAuthentication",
    "encryption.requireInfrastructureEncryption",
    "immutableStorageWithVersioning.enabled",
    "customDomain.useSubDomainName",
    "routingPreference.publishMicrosoftEndpoints",
    "routingPreference.publishInternetEndpoints",
)
RULES = with_common(
    lists={
        "zones": "",
        "properties.networkAcls.ipRules": "value",
        "properties.networkAcls.ipv6Rules": "value",
        "properties.networkAcls.virtualNetworkRules": "id",
        "properties.networkAcls.resourceAccessRules": "resourceId",
    },
    whole=(
        "zones",
        "properties.networkAcls.ipRules",
        "properties.networkAcls.ipv6Rules",
        "properties.networkAcls.virtualNetworkRules",
        "properties.networkAcls.resourceAccessRules",
    ),
    ignore_case=(
        "sku",
        "extendedLocation",
        "placement.zonePlacementPolicy",
        "properties.sasPolicy.expirationAction",
        "properties.azureFilesIdentityBasedAuthentication.activeDirectoryProperties.accountType",
        "properties.immutableStorageWithVersioning.immutabilityPolicy.state",
        "properties.accessTier",
        "properties.turboTier.status",
        "properties.allowedCopyScope",
        "properties.minimumTlsVersion",
        "properties.publicNetworkAccess",
        "properties.largeFileSharesState",
        "properties.dnsEndpointType",
        "properties.networkAcls.bypass",
        "properties.networkAcls.defaultAction",
        "….action",
        "properties.encryption.keySource",
        "….keyType",
        "properties.routingPreference.routingChoice",
        "properties.azureFilesIdentityBasedAuthentication.directoryServiceOptions",
        "properties.azureFilesIdentityBasedAuthentication.defaultSharePermission",
    ),
    read_only=(
        "sku.tier",
        "….lastEnabledTime",
        "properties.networkAcls.virtualNetworkRules.state",
        "properties.encryption.keyvaultproperties.currentVersionedKeyIdentifier",
        "properties.encryption.keyvaultproperties.lastKeyRotationTimestamp",
        "properties.encryption.keyvaultproperties.currentVersionedKeyExpirationTimestamp",
        *(
            f"properties.{name}"
            for name in (
                "accountMigrationInProgress",
                "blobRestoreStatus",
                "creationTime",
                "failoverInProgress",
                "geoReplicationStats",
                "isSkuConversionBlocked",
                "keyCreationTime",
                "lastGeoFailoverTime",
                "primaryEndpoints",
                "primaryLocation",
                "privateEndpointConnections",
                "secondaryEndpoints",
                "secondaryLocation",
                "statusOfPrimary",
                "statusOfSecondary",
                "storageAccountSkuConversionStatus",
            )
        ),
    ),
    defaults={
        "properties.accessTier": "Hot",
        "properties.allowSharedKeyAccess": True,
        "properties.supportsHttpsTrafficOnly": True,
        "properties.publicNetworkAccess": "Enabled",
        "properties.largeFileSharesState": "Disabled",
        "properties.dnsEndpointType": "Standard",
        "properties.encryption.keySource": "Microsoft.Storage",
        "properties.encryption.services.*.enabled": True,
        "properties.encryption.services.blob.keyType": "Account",
        "properties.encryption.services.file.keyType": "Account",
        "properties.encryption.services.*.keyType": "Service",
        "properties.networkAcls.bypass": "AzureServices",
        "properties.networkAcls.defaultAction": "Allow",
        "properties.networkAcls.ipRules.action": "Allow",
        "properties.networkAcls.ipv6Rules.action": "Allow",
        "properties.networkAcls.virtualNetworkRules.action": "Allow",
        "properties.routingPreference.routingChoice": "MicrosoftRouting",
        "….directoryServiceOptions": "None",
        "properties.allowBlobPublicAccess": True,
        "properties.allowCrossTenantReplication": True,
        **{f"properties.{name}": False for name in _OFF},
    },
    # By the API version and the SKU.
    varying=(
        "properties.accessTier",
        "properties.allowBlobPublicAccess",
        "properties.allowCrossTenantReplication",
        "properties.supportsHttpsTrafficOnly",
    ),
    effects={"sku.name": "replace"},
)


class StorageAccount(ArmResource[ResourceSpec]):
    """The PUT of an existing account answers at once; creating one takes a while and its keys are
    refused until then.
    """

    name = Kind.STORAGE_ACCOUNT
    rules = RULES
    immutable = ("location", "kind")

    def judged(self, change: Change) -> Change:
        both = {str(change.before).lower(), str(change.after).lower()}
        moves = change.path == "sku.name" and any(both <= group for group in _MOVES)
        return replace(change, effect=IN_PLACE) if moves else change

    async def put(
        self,
        desired: Desired[ResourceSpec],
        body: Mapping[str, Any],
        found: Mapping[str, Any] | None,
        facts: Facts,
    ) -> Operation | None:
        spec = desired.spec
        if found is None:
            return await storage.put_storage_account(self.arm, spec.resource_group, spec.name, body)
        fields = {name: body[name] for name in ("sku", "tags", "properties") if name in body}
        await storage.patch_storage_account(self.arm, spec.resource_group, spec.name, fields)
        return None

    async def remove(self, identity: Identity, found: Mapping[str, Any]) -> Operation | None:
        return await storage.delete_storage_account(
            self.arm, ids.part(identity.id, "resourceGroups"), ids.name(identity.id)
        )
