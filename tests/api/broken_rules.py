"""Saves whose fields contradict each other, or whose names and references cannot be."""

from tests.api.broken_case import ENVIRONMENT, MODEL, SERVICE, case

RULES = [
    case(
        "max below min",
        MODEL + "  scale: {minReplicas: 3, maxReplicas: 2}\n",
        "5:40: maxReplicas is 2, less than minReplicas 3; set maxReplicas to 3 or more",
    ),
    case(
        "neither model nor code",
        SERVICE + "  environment: default\n",
        "4:3: the service has neither model nor code; write model: {source: ./folder}",
    ),
    case(
        "both model and code",
        MODEL + "  code: ./inference\n",
        "5:3: a service serves either a model or code, not both; split it into two services",
    ),
    case(
        "code without a command",
        SERVICE + "  code: ./inference\n  targetPort: 80\n",
        "4:9: code needs command; write command: [python3, app.py]",
    ),
    case(
        "code from a path that no disk can hold",
        SERVICE + f"  code: ./{'x' * 256}\n  command: [x]\n  targetPort: 80\n",
        "4:9: source './" + "x" * 38 + "'... is longer than a path can be",
    ),
    case(
        "code from a hub",
        SERVICE + "  code: hf://a/b@c\n  command: [x]\n  targetPort: 80\n",
        "4:9: code cannot come from hf://a/b@c; write ./folder or share://path",
    ),
    case(
        "code with vLLM's things",
        SERVICE
        + "  code: ./inference\n  command: [x]\n  targetPort: 80\n  adapters: []\n  engine: {args:"
        " {max-num-seqs: 1}}\n",
        "7:3: adapters cannot be used with code",
        "8:12: engine.args are vLLM's flags and there is no vLLM; write args",
    ),
    case(
        "a command for vLLM",
        MODEL + "  command: [x]\n",
        "5:3: command belongs to a service with code; leave it out: Moorage starts vLLM",
    ),
    case(
        "env twice",
        MODEL + "  env:\n    - {name: A, value: x}\n    - {name: A, value: y}\n",
        "7:14: environment variable 'A' is named twice, first as item 1; keep one: with two, the"
        " replica never starts",
    ),
    case(
        "env of ours",
        MODEL + "  env: [{name: MOORAGE_X, value: x}]\n",
        "5:16: MOORAGE_X is not yours to set: Moorage sets it for its own part of the replica",
    ),
    case(
        "env of the platform",
        MODEL + "  env: [{name: CONTAINER_APP_NAME, value: x}]\n",
        "5:16: CONTAINER_APP_NAME is not yours to set: Container Apps sets it",
    ),
    case(
        "env that breaks vLLM",
        MODEL + "  env: [{name: PYTHONPATH, value: x}, {name: VLLM_PLUGINS, value: x}]\n",
        "5:16: PYTHONPATH is not yours to set",
        "5:46: VLLM_PLUGINS is not yours to set",
    ),
    case(
        "the unsafe switch",
        MODEL + "  env: [{name: VLLM_ALLOW_RUNTIME_LORA_UPDATING, value: '1'}]\n",
        "5:16: VLLM_ALLOW_RUNTIME_LORA_UPDATING is not yours to set: it opens vLLM's unprotected"
        " adapter routes; write spec.adapters",
    ),
    case(
        "an impossible env name",
        MODEL + "  env: [{name: 1A, value: x}]\n",
        "5:16: '1A' cannot be the name of an environment variable",
    ),
    case(
        "an adapter twice",
        MODEL
        + "  adapters:\n    - {name: a, source: share://a}\n    - {name: A, source: share://b}\n",
        "7:14: adapter 'A' is named twice, first as item 1; clients choose by name",
    ),
    case(
        "an adapter named like the base",
        MODEL + "  adapters: [{name: phi, source: share://a}]\n",
        "5:21: adapter 'phi' has the name under which the base model answers; rename it",
    ),
    case(
        "an adapter's name with a slash",
        MODEL + "  adapters: [{name: a/b, source: share://a}]\n",
        "5:21: 'a/b' cannot be an adapter's name, which clients send as the model; it takes",
    ),
    case(
        "a flag of ours",
        MODEL + "  engine: {args: {port: 1}}\n",
        "5:19: engine.args.port is not yours to set: probes and ingress expect vLLM on port 8000 of"
        " the replica",
    ),
    case(
        "the key as a flag",
        MODEL + "  engine: {args: {api-key: x}}\n",
        "5:19: engine.args.api-key is not yours to set: keys in arguments are readable",
    ),
    case(
        "a flag with dashes",
        MODEL + "  engine: {args: {--max_model_len: 1}}\n",
        "5:19: '--max_model_len' is not a vLLM flag; write max-model-len",
    ),
    case(
        "a flag without a value",
        MODEL + "  engine: {args: {enforce-eager: }}\n",
        "flag 'enforce-eager' has no value; write true for a flag that takes none",
    ),
    case(
        "a flag with a mapping",
        MODEL + "  engine: {args: {x: {a: 1}}}\n",
        "5:22: flag 'x' holds a mapping; write the JSON that vLLM takes as text in single quotes",
    ),
    case(
        "a slip in a flag",
        MODEL + "  engine: {args: {max-modle-len: 1}}\n",
        "5:19: vLLM has no flag 'max-modle-len'; did you mean max-model-len?",
    ),
    case(
        "a switch with a value",
        MODEL + "  engine: {args: {enforce-eager: 'yes'}}\n",
        "5:34: flag 'enforce-eager' is switched on or off; write true or false",
    ),
    case(
        "a value left at true",
        MODEL + "  engine: {args: {max-model-len: true}}\n",
        "5:34: flag 'max-model-len' takes a value; write it after the colon",
    ),
    case(
        "a list for one value",
        MODEL + "  engine: {args: {dtype: [a, b]}}\n",
        "5:26: flag 'dtype' takes one value, not a list; write one",
    ),
    case(
        "a flag that cannot be switched off",
        MODEL + "  engine: {args: {disable-log-stats: false}}\n",
        "5:38: flag 'disable-log-stats' can only be switched on; write true, or leave it out",
    ),
    case(
        "an image never tested",
        MODEL + '  engine: {image: "vllm/vllm-openai:v0.31.0"}\n',
        "5:19: image 'vllm/vllm-openai:v0.31.0' holds vLLM 0.31.0; adapters are changed inside"
        " vLLM, so only tested versions are taken; write vllm/vllm-openai:v0.32.0",
    ),
    case(
        "an image that moves",
        MODEL + '  engine: {image: "docker.io/vllm/vllm-openai:latest"}\n',
        "5:19: image 'docker.io/vllm/vllm-openai:latest' holds a vLLM whose version its name does"
        " not tell",
    ),
    case(
        "a day that is none",
        MODEL + "  adapters: [{name: a, source: share://a, shutdownDate: 2027-02-30}]\n",
        "5:57: '2027-02-30' is no day; write it as 2027-01-31",
    ),
    case(
        "a digest that is none",
        MODEL + '  engine: {image: "vllm/vllm-openai:v0.32.0@sha256:123"}\n',
        "5:19: 'vllm/vllm-openai:v0.32.0@sha256:123' is no image reference",
    ),
    case(
        "a rank vLLM has not",
        MODEL + "  engine: {args: {max-lora-rank: 12}}\n",
        "5:34: max-lora-rank cannot be 12; vLLM takes 1, 8, 16, 32",
    ),
    case(
        "no room to replace",
        MODEL
        + "  engine: {args: {max-cpu-loras: 1}}\n  adapters: [{name: a, source: share://a}]\n",
        "5:34: max-cpu-loras 1 leaves no room to replace one of 1 adapters; write 2 or more",
    ),
    case(
        "no API key",
        MODEL + "  auth: {apiKeys: []}\n",
        "5:19: spec.auth.apiKeys is empty; write at least one item, or leave it out",
    ),
    case(
        "memory without a unit",
        MODEL + "  resources: {memory: '8'}\n",
        "5:23: '8' is no amount of memory; write 8Gi",
    ),
    case(
        "a size Consumption has not",
        MODEL + "  workloadProfileName: Consumption\n  resources: {cpu: 1, memory: 1Gi}\n",
        "6:14: the Consumption profile has no replica of 1 cores and 1Gi",
    ),
    case(
        "more than a GPU profile has",
        MODEL + "  workloadProfileName: gpu\n  resources: {cpu: 48, memory: 220Gi}\n",
        "6:20: Consumption-GPU-NC24-A100 has 24 cores; write 24 or less",
    ),
]

NAMES = [
    case(
        "a service Azure refuses",
        "kind: InferenceService\nmetadata: {name: Phi_3}\nspec: {model: {source: share://m}}\n",
        "2:18: 'Phi_3' cannot be the name of a service, which is its container app's; it takes 2"
        " to 32",
        "for example 'phi-3'",
    ),
    case(
        "two dashes",
        "kind: InferenceService\nmetadata: {name: a--b}\nspec: {model: {source: share://m}}\n",
        "2:18: 'a--b' cannot be the name of a service",
    ),
    case(
        "33 characters",
        f"kind: InferenceService\nmetadata: {{name: {'a' * 33}}}\nspec: {{model: {{source:"
        " share://m}}\n",
        "2:18: ",
    ),
    case(
        "a trademark",
        "kind: InferenceService\nmetadata: {name: my-windows}\nspec: {model: {source:"
        " share://m}}\n",
        "2:18: 'my-windows' cannot be the name of a service, which is its container app's: Azure"
        " reserves the word 'windows'",
    ),
    case(
        "a storage account",
        ENVIRONMENT + "  storage: {accountName: st-phi}\n",
        "4:26: 'st-phi' cannot be a storage account's name; it takes 3 to 24 lower-case letters and"
        " digits, unique in all of Azure, for example 'stphi'",
    ),
    case(
        "a share",
        ENVIRONMENT + "  storage: {shareName: Phi}\n",
        "4:24: 'Phi' cannot be a file share's name",
    ),
    case(
        "a workspace",
        ENVIRONMENT + "  logAnalytics: {name: law_phi}\n",
        "4:24: 'law_phi' cannot be a Log Analytics workspace's name",
    ),
    case(
        "an environment",
        ENVIRONMENT + "  managedEnvironment: {name: cae_phi}\n",
        "4:30: 'cae_phi' cannot be a managed environment's name",
    ),
    case(
        "a resource group",
        ENVIRONMENT + "  resourceGroup: rg.\n",
        "4:18: 'rg.' cannot be a resource group's name",
    ),
    case(
        "a region",
        ENVIRONMENT + "  location: Sweden/Central\n",
        "4:13: 'Sweden/Central' is no Azure region",
    ),
    case(
        "a subscription",
        ENVIRONMENT + "  subscriptionId: mine\n",
        "4:19: 'mine' is no subscription id; it is a GUID",
    ),
    case(
        "a long workload profile",
        ENVIRONMENT
        + "  workloadProfiles: [{name: a-much-too-long-one, workloadProfileType: D4}]\n",
        "4:29: 'a-much-too-long-one' cannot be a workload profile's name; it takes 1 to 15",
    ),
    case(
        "counts on a serverless GPU",
        ENVIRONMENT + "  workloadProfiles:\n    - name: gpu\n      workloadProfileType:"
        " Consumption-GPU-NC24-A100\n      minimumCount: 0\n",
        "7:7: minimumCount cannot be set, Consumption-GPU-NC24-A100 is serverless: Azure refuses"
        " node counts",
    ),
    case(
        "tags of ours",
        ENVIRONMENT + "  tags: {moorage-owner: me}\n",
        "4:10: tag 'moorage-owner' has a reserved prefix",
    ),
    case(
        "tags that differ in case",
        ENVIRONMENT + "  tags: {a: x, A: y}\n",
        "4:16: tag 'A' is 'a' again: tags have no case; keep one of them",
    ),
]

REFERENCES = [
    case(
        "a missing environment",
        MODEL + "  environment: dev\n",
        "5:16: there is no Environment named 'dev'; write the Environment document",
    ),
    case(
        "a slip in a reference",
        MODEL + "  environment: dav\n---\n" + ENVIRONMENT,
        "5:16: there is no Environment named 'dav'; did you mean 'dev'?",
    ),
    case(
        "a missing profile",
        MODEL
        + "  environment: dev\n  workloadProfileName: gpu\n---\n"
        + ENVIRONMENT
        + "  workloadProfiles: [{name: a100, workloadProfileType: Consumption-GPU-NC24-A100}]\n",
        "6:24: Environment 'dev' has no workload profile 'gpu'; it has Consumption, a100",
    ),
    case(
        "a missing folder",
        SERVICE + "  model: {source: ./models/phy}\n",
        "4:19: /tmp/models/phy does not exist; paths start from /tmp",
    ),
    case(
        "a file for a folder",
        SERVICE + "  model: {source: ./inference/app.py}\n",
        "4:19: /tmp/inference/app.py is not a folder",
    ),
    case(
        "a hub name without its scheme",
        SERVICE + "  model: {source: org/name}\n",
        "4:19: /tmp/org/name does not exist; for a model on Hugging Face write"
        " hf://org/name@revision",
    ),
    case(
        "a hub model unpinned",
        SERVICE + "  model: {source: hf://org/name}\n",
        "4:19: hf://org/name has no revision, so what is served could change unseen; write"
        " hf://org/name@ and a commit or tag",
    ),
    case(
        "an unknown scheme",
        SERVICE + "  model: {source: s3://bucket/x}\n",
        "4:19: source 's3://bucket/x' has the unknown scheme 's3://'; write ./folder, share://path"
        " or hf://org/name@revision",
    ),
    case(
        "a way out of the share",
        SERVICE + "  model: {source: share://../x}\n",
        "4:19: share://../x holds the part '..'",
    ),
    case(
        "a broken environment is not a missing one",
        MODEL + "  environment: dev\n---\n" + ENVIRONMENT + "  nope: 1\n",
        "10:3: unknown key 'nope' in spec",
    ),
]
