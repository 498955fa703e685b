"""Saves whose secrets, registries or identities cannot be. What may be a secret's value is never
repeated.
"""

from tests.api.broken_case import MODEL, case

INSTEAD = "; write valueFrom: {file: ./FILE}, valueFrom: {env: VARIABLE}, or keyVaultUrl"
NEVER = "a secret's value may not stand in the document" + INSTEAD
URL = "keyVaultUrl: 'https://kv.vault.azure.net/secrets/x'"
USER = (
    "/subscriptions/1/resourceGroups/rg/providers/Microsoft.ManagedIdentity/userAssignedIdentities"
)
SECRETS = [
    case(
        "a value in the document",
        MODEL + "  secrets: [{name: a, value: hunter2}]\n",
        f"5:23: {NEVER}",
    ),
    case(
        "a value for a source",
        MODEL + "  secrets: [{name: a, valueFrom: hunter2}]\n",
        f"5:34: {NEVER}",
    ),
    case(
        "a value for a secret",
        MODEL + "  secrets: [hunter2]\n",
        f"5:13: a secret has a name and says where its value is{INSTEAD}",
    ),
    case(
        "a value for a path",
        MODEL + '  secrets: [{name: a, valueFrom: {file: "hun\\nter2"}}]\n',
        "5:41: this is no path of a file; write file: ./FILE, on one line",
    ),
    case(
        "a value for a variable's name",
        MODEL + "  secrets: [{name: a, valueFrom: {env: hunter-2}}]\n",
        "5:40: this is no name of an environment variable; write the name of a variable, not its"
        " value",
    ),
    case(
        "a value and a reference",
        MODEL
        + "  secrets: [{name: a, valueFrom: {env: A}}]\n"
        + "  env: [{name: A, value: x, valueFrom: {secretRef: a}}]\n",
        "6:29: A has both value and valueFrom; remove one of them",
    ),
    case(
        "a variable without a value",
        MODEL + "  env: [{name: A}]\n",
        "5:16: A has no value; write value, or valueFrom: {secretRef: NAME}",
    ),
    case(
        "a secret twice",
        MODEL + "  secrets: [{name: a, valueFrom: {env: A}}, {name: a, valueFrom: {env: B}}]\n",
        "5:52: secret 'a' is named twice, first as item 1; keep one of them",
    ),
    case(
        "a secret under a name of Moorage's",
        MODEL + "  secrets: [{name: api-key-default, valueFrom: {env: A}}]\n",
        "5:20: api-key-default is not yours to set: Moorage keeps its own secrets under such names",
    ),
    case(
        "a secret under a name that Azure refuses",
        MODEL + "  secrets: [{name: HF_TOKEN, valueFrom: {env: A}}]\n",
        "5:20: 'HF_TOKEN' cannot be the name of a secret; it takes small letters",
    ),
    case(
        "what the daemon signs in with",
        MODEL + "  secrets: [{name: a, valueFrom: {env: AZURE_CLIENT_SECRET}}]\n",
        "5:40: AZURE_CLIENT_SECRET cannot be given to a container: the daemon signs in with such",
    ),
    case(
        "a secret from two places",
        MODEL + "  secrets: [{name: a, valueFrom: {env: A, file: ./a}}]\n",
        "5:34: valueFrom takes one of file and env",
    ),
    case(
        "a secret from nowhere",
        MODEL + "  secrets: [{name: a}]\n",
        "5:20: the secret a takes one of valueFrom and keyVaultUrl",
    ),
    case(
        "a Key Vault without an identity",
        MODEL + f"  secrets: [{{name: a, {URL}}}]\n",
        "5:23: the secret a does not say who may read the Key Vault; add identity: system",
    ),
    case(
        "a Key Vault for an identity that is not there",
        MODEL + f"  secrets: [{{name: a, {URL}, identity: system}}]\n",
        "the service has no identity 'system'; add it to spec.identity, with type: SystemAssigned",
    ),
    case(
        "a Key Vault without a secret",
        MODEL
        + "  secrets: [{name: a, keyVaultUrl: 'https://kv.vault.azure.net', identity: system}]\n",
        "5:36: 'https://kv.vault.azure.net' is no secret of a Key Vault",
    ),
    case(
        "references to nothing",
        MODEL
        + "  env: [{name: A, valueFrom: {secretRef: b}}]\n"
        + "  registries: [{server: r.io, username: u, passwordSecretRef: c}]\n",
        "5:42: the service has no secret 'b'; it has none: write spec.secrets",
        "6:63: the service has no secret 'c'; it has none: write spec.secrets",
    ),
    case(
        "registries that let nobody in",
        MODEL + "  registries: [{server: r.io}, {server: 'https://r.io/x', identity: system}]\n",
        "5:25: the registry r.io has no complete login; write username and passwordSecretRef, or",
        "5:41: 'https://r.io/x' is no registry's host; write its host alone",
    ),
    case(
        "a registry with two ways in",
        MODEL
        + "  registries: [{server: r.io, username: u, passwordSecretRef: p, identity: system}]\n",
        "5:66: a registry takes either an identity or a username with a password",
    ),
    case(
        "an identity that nobody has",
        MODEL
        + f"  registries: [{{server: r.io, identity: {USER}/b}}]\n"
        + f"  identity: {{type: UserAssigned, userAssignedIdentities: {{{USER}/a: {{}}}}}}\n",
        "5:41: the service has no identity 'b'; add it to spec.identity, with type: UserAssigned",
    ),
    case(
        "identities of another kind",
        MODEL + "  identity: {type: UserAssigned}\n",
        "5:20: the type UserAssigned names no identity; add userAssignedIdentities",
    ),
    case(
        "identities beside their type",
        MODEL
        + f"  identity: {{type: SystemAssigned, userAssignedIdentities: {{{USER}/a: {{}}}}}}\n",
        "5:36: userAssignedIdentities cannot be used with the type SystemAssigned",
    ),
    case(
        "an identity by its name",
        MODEL + "  identity: {type: UserAssigned, userAssignedIdentities: {mine: {}}}\n",
        "'mine' is no user-assigned identity; write its resource id",
    ),
]
