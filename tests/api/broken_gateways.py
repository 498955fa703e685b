"""Saves whose gateway contradicts the services behind it, or what Container Apps has."""

from tests.api.broken_case import ENVIRONMENT, MODEL, case

GATEWAYS = [
    case(
        "a gateway's name is too long",
        ENVIRONMENT.replace("dev", "a-name-of-forty-letters-is-too-long-for-it")
        + "  gateway: {}\n",
        "4:12: the gateway cannot be called 'gw-a-name-of-forty-letters-is-too-long-for-it': a container"
        " app's name is shorter; name it: gateway: {name: gw}",
    ),
    case(
        "a gateway called like a service",
        ENVIRONMENT + "  gateway: {name: phi}\n---\n" + MODEL + "  environment: dev\n",
        "4:19: the gateway is called 'phi', as is the service 'phi'",
    ),
    case(
        "two gateways of one name",
        ENVIRONMENT
        + "  gateway: {name: gw}\n---\n"
        + ENVIRONMENT.replace("dev", "prod")
        + "  gateway: {name: gw}\n",
        "9:19: the gateway is called 'gw', as is the gateway of Environment 'dev'",
    ),
    case(
        "a size that Consumption lacks",
        ENVIRONMENT + "  gateway: {cpu: 0.3}\n",
        "4:18: the Consumption profile has no replica of 0.3 cores; write a multiple of 0.25",
    ),
    case(
        "memory that does not go with the cores",
        ENVIRONMENT + "  gateway: {memory: 2Gi}\n",
        "4:21: the Consumption profile has no replica of 0.25 cores and 2Gi; write 0.5Gi, or leave it out",
    ),
    case(
        "longer than the ingress holds",
        ENVIRONMENT + "  gateway: {hold: {seconds: 300}}\n",
        "4:29: spec.gateway.hold.seconds is 300; write 235 or less",
    ),
    case(
        "the gateway's own key",
        ENVIRONMENT + "  gateway: {apiKeys: [{name: gateway}]}\n",
        "4:30: the gateway's own key is called 'gateway'; choose another name",
    ),
    case(
        "a service's key called like the gateway's",
        ENVIRONMENT
        + "  gateway: {}\n---\n"
        + MODEL
        + "  environment: dev\n  auth: {apiKeys: [{name: default}, {name: gateway}]}\n",
        "11:44: the gateway of Environment 'dev' uses the key 'gateway'; choose another name",
    ),
    case(
        "a key for a model that no service has",
        ENVIRONMENT
        + "  gateway: {apiKeys: [{name: a, models: [phi, sales]}]}\n---\n"
        + MODEL
        + "  environment: dev\n",
        "4:47: the Environment has no model 'sales'; write one of: phi",
    ),
    case(
        "a fallback that is not behind the gateway",
        ENVIRONMENT
        + "  gateway: {fallback: {phi: chat, sales: phi}}\n---\n"
        + MODEL
        + "  environment: dev\n",
        "4:29: the fallback 'chat' of 'phi' is not behind the gateway; behind this gateway: phi",
        "4:42: there is no service 'sales' behind the gateway; behind this gateway: phi",
    ),
    case(
        "a fallback of an adapter that is not there, and one of the same service",
        ENVIRONMENT
        + "  gateway: {fallback: {phi/support: chat, phi: phi/x}}\n---\n"
        + MODEL
        + "  environment: dev\n",
        "4:37: there is no adapter 'phi/support' behind the gateway; behind this gateway: phi",
        "4:48: the fallback 'phi/x' of 'phi' is of the same service; behind this gateway: phi",
    ),
    case(
        "tokens of no tenant and for no audience",
        ENVIRONMENT + "  gateway: {entra: {audience: a b, tenant: mine}}\n",
        "4:31: 'a b' is no audience; write the application ID URI of an app registration",
        "4:44: 'mine' is no tenant id; it is a GUID; `az account show --query tenantId` prints it",
    ),
]
