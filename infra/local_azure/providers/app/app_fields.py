"""The fields of a container app, since when they exist and how they look without a value. Read by
`app_shape`.
"""

from infra.local_azure.arm.shape import BLANK, GIVEN, NEVER, OMITTED, Field, Shape

_TRIAL = "2024-02-02-preview"
_AUTH = Shape((Field("secretRef", empty=OMITTED), Field("triggerParameter", empty=OMITTED)))


def _rule(*first: Field) -> Shape:
    auth = Field("auth", empty=OMITTED, of=_AUTH, many=True)
    return Shape(
        (*first, Field("metadata", "any", OMITTED), auth, Field("identity", empty=OMITTED))
    )


JOB_SCALE = Shape(
    (
        Field("minExecutions", "whole"),
        Field("maxExecutions", "whole"),
        Field("pollingInterval", "whole"),
        Field("rules", empty=GIVEN, of=_rule(Field("name"), Field("type")), many=True),
    )
)
_QUEUE = Shape(
    (
        Field("accountName", empty=OMITTED, stable="2024-08", preview="2024-08"),
        Field("queueName", empty=OMITTED),
        Field("queueLength", "whole", OMITTED),
        Field("auth", empty=OMITTED, of=_AUTH, many=True),
        Field("identity", empty=OMITTED),
    )
)
_RULES = Shape(
    (
        Field("name"),
        Field("azureQueue", empty=OMITTED, of=_QUEUE),
        Field("custom", empty=OMITTED, of=_rule(Field("type"))),
        Field("http", empty=OMITTED, of=_rule()),
        Field("tcp", empty=OMITTED, of=_rule()),
    )
)
SCALE = Shape(
    (
        Field("minReplicas", "whole"),
        Field("maxReplicas", "whole"),
        Field("cooldownPeriod", "whole", stable="2024-08-02", preview="2024-08-02"),
        Field("pollingInterval", "whole", stable="2024-08-02", preview="2024-08-02"),
        Field("rules", of=_RULES, many=True),
    )
)
_ENV = Shape((Field("name"), Field("value", empty=GIVEN), Field("secretRef", empty=OMITTED)))
_HEADER = Shape((Field("name"), Field("value")))
_HTTP_GET = Shape(
    (
        Field("path", empty=OMITTED),
        Field("port", "whole", OMITTED),
        Field("host", empty=OMITTED),
        Field("scheme", empty=OMITTED, words=("HTTP", "HTTPS")),
        Field("httpHeaders", empty=OMITTED, of=_HEADER, many=True),
    )
)
_PROBE = Shape(
    (
        Field("type", empty=OMITTED, words=("Liveness", "Readiness", "Startup")),
        Field("failureThreshold", "whole", OMITTED),
        Field("httpGet", empty=OMITTED, of=_HTTP_GET),
        Field("initialDelaySeconds", "whole", OMITTED),
        Field("periodSeconds", "number", OMITTED),
        Field("successThreshold", "whole", OMITTED),
        Field(
            "tcpSocket",
            empty=OMITTED,
            of=Shape((Field("host", empty=OMITTED), Field("port", "whole", OMITTED))),
        ),
        Field("terminationGracePeriodSeconds", "whole", OMITTED),
        Field("timeoutSeconds", "number", OMITTED),
    )
)
_MOUNT = Shape((Field("volumeName"), Field("mountPath"), Field("subPath", empty=OMITTED)))
_SIZE = (Field("cpu", "number"), Field("memory"))
_RESOURCES = Shape((*_SIZE, Field("ephemeralStorage"), Field("gpu", "number", OMITTED)))


def _container(probes: Field, resources: Shape) -> Shape:
    return Shape(
        (
            Field("image"),
            Field(
                "imageType", stable=NEVER, preview=_TRIAL, words=("ContainerImage", "CloudBuild")
            ),
            Field("name"),
            Field("command", empty=OMITTED, many=True),
            Field("args", empty=OMITTED, many=True),
            Field("env", empty=OMITTED, of=_ENV, many=True),
            probes,
            Field("resources", empty=OMITTED, of=resources),
            Field("volumeMounts", empty=OMITTED, of=_MOUNT, many=True),
        )
    )


_CONTAINER = _container(Field("probes", empty=GIVEN, of=_PROBE, many=True), _RESOURCES)
_ITEM = Shape((Field("secretRef"), Field("path", empty=OMITTED)))
_VOLUME = Shape(
    (
        Field("name"),
        Field(
            "storageType",
            empty=OMITTED,
            words=("AzureFile", "EmptyDir", "Secret", "NfsAzureFile", "Smb"),
        ),
        Field("storageName", empty=OMITTED),
        Field("secrets", empty=OMITTED, of=_ITEM, many=True),
        Field("mountOptions", empty=OMITTED),
    )
)


def _template(container: Shape) -> Shape:
    return Shape(
        (
            Field("revisionSuffix"),
            Field("terminationGracePeriodSeconds", "whole"),
            Field("containers", of=container, many=True),
            Field("initContainers", of=container, many=True),
            Field("scale", of=SCALE),
            Field("volumes", of=_VOLUME, many=True),
            Field("serviceBinds", "any"),
        )
    )


TEMPLATE = _template(_CONTAINER)
REVISION_TEMPLATE = _template(_container(Field("probes", "any"), Shape(_SIZE)))
_TRAFFIC = Shape(
    (
        Field("revisionName", empty=OMITTED),
        Field("weight", "whole", OMITTED),
        Field("latestRevision", "flag", OMITTED),
        Field("label", empty=OMITTED),
    )
)
_RESTRICTION = Shape(
    (
        Field("name", empty=OMITTED),
        Field("description", empty=OMITTED),
        Field("ipAddressRange", empty=OMITTED),
        Field("action", empty=OMITTED, words=("Allow", "Deny")),
    )
)
_CORS = Shape(
    (
        Field("allowedOrigins", many=True),
        Field("allowedMethods", many=True),
        Field("allowedHeaders", many=True),
        Field("exposeHeaders", many=True),
        Field("maxAge", "whole"),
        Field("allowCredentials", "flag"),
    )
)
_DOMAIN = Shape(
    (
        Field("name"),
        Field("bindingType", words=("Disabled", "SniEnabled", "Auto")),
        Field("certificateId", empty=OMITTED),
    )
)
_PORT = Shape(
    (Field("external", "flag"), Field("targetPort", "whole"), Field("exposedPort", "whole"))
)
INGRESS = Shape(
    (
        Field("fqdn"),
        Field("external", "flag"),
        Field("targetPort", "whole"),
        Field("exposedPort", "whole"),
        Field("transport", words=("Auto", "Http", "Http2", "Tcp")),
        Field("traffic", of=_TRAFFIC, many=True),
        Field("customDomains", of=_DOMAIN, many=True),
        Field("allowInsecure", "flag"),
        Field("ipSecurityRestrictions", of=_RESTRICTION, many=True),
        Field("corsPolicy", of=_CORS),
        Field("clientCertificateMode", words=("Accept", "Ignore", "Require")),
        Field("stickySessions", of=Shape((Field("affinity", words=("none", "sticky")),))),
        Field("additionalPortMappings", of=_PORT, many=True),
        Field("targetPortHttpScheme", stable=NEVER, preview=_TRIAL),
    )
)
_REGISTRY = Shape(
    (
        Field("server", empty=BLANK),
        Field("username", empty=BLANK),
        Field("passwordSecretRef", empty=BLANK),
        Field("identity", empty=BLANK),
    )
)
_DAPR = Shape(
    (
        Field("enabled", "flag"),
        Field("appId"),
        Field("appProtocol", words=("http", "grpc")),
        Field("appPort", "whole"),
        Field("httpReadBufferSize", "whole"),
        Field("httpMaxRequestSize", "whole"),
        Field("logLevel", words=("info", "debug", "warn", "error")),
        Field("enableApiLogging", "flag"),
        Field("appHealth", "any", stable="2025-07", preview="2025-02"),
        Field("maxConcurrency", "whole", stable="2025-07", preview="2025-02"),
    )
)
SECRET = Shape(
    (
        Field("name"),
        Field("value", empty=OMITTED),
        Field("keyVaultUrl", empty=OMITTED),
        Field("identity", empty=OMITTED),
    )
)
_SETTING = Shape((Field("identity"), Field("lifecycle", words=("All", "Init", "Main", "None"))))
_RUNTIME = Shape(
    (Field("java", "any", OMITTED), Field("dotnet", "any", OMITTED, stable=NEVER, preview=_TRIAL))
)
CONFIGURATION = Shape(
    (
        Field("secrets", of=SECRET, many=True),
        Field("activeRevisionsMode", words=("Single", "Multiple", "Labels")),
        Field("targetLabel", stable=NEVER, preview="2024-08-02"),
        Field("ingress", of=INGRESS),
        Field("registries", of=_REGISTRY, many=True),
        Field("dapr", of=_DAPR),
        Field("runtime", of=_RUNTIME, stable="2025-01", preview=_TRIAL),
        Field("maxInactiveRevisions", "whole"),
        Field("revisionTransitionThreshold", "whole", stable=NEVER, preview="2024-10-02"),
        Field("service", "any"),
        Field("identitySettings", of=_SETTING, many=True, stable="2025-01", preview=_TRIAL),
    )
)
KIND = Field("kind", empty=OMITTED, stable="2025-07", preview="2024-10")
APP = Shape(
    (
        Field("provisioningState"),
        Field("runningStatus", empty=OMITTED),
        Field("deploymentErrors", empty=OMITTED),
        Field("managedEnvironmentId"),
        Field("environmentId"),
        Field("workloadProfileName"),
        Field("patchingMode", stable=NEVER, preview=_TRIAL),
        Field("outboundIpAddresses", many=True),
        Field("latestRevisionName", empty=GIVEN),
        Field("latestReadyRevisionName", empty=GIVEN),
        Field("latestRevisionFqdn", empty=GIVEN),
        Field("customDomainVerificationId"),
        Field("configuration", of=CONFIGURATION),
        Field("template", of=TEMPLATE),
        Field("eventStreamEndpoint", empty=OMITTED),
        Field("delegatedIdentities", many=True, stable="2024-02", preview="2024-02"),
    )
)
