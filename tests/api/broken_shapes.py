"""Saves that are no YAML, or have not the shape of a document: fields, types, values."""

from tests.api.broken_case import ENVIRONMENT, MODEL, SERVICE, case

SYNTAX = [
    case(
        "a tab",
        "kind: x\nspec:\n\ta: 1\n",
        "3:1: a tab stands where YAML wants spaces; indent with spaces",
    ),
    case("a colon too many", "kind: a: b\n", "1:8: a ':' stands where no key can be"),
    case("a bracket left open", "kind: [a, b\n", "1:7: this bracket is never closed; close it"),
    case("a quote left open", 'kind: "abc\nmetadata: x\n', "1:7: this quoted text is never closed"),
    case(
        "ragged indentation",
        "spec:\n  a: 1\n b: 2\n",
        "3:2: this line is not indented as the lines before it",
    ),
    case("a missing colon", "kind: x\nmetadata\nspec: x\n", "3:1: a ':' is missing after this key"),
    case(
        "a value that starts with @",
        "kind: @x\n",
        "1:7: a plain value cannot start with '@'; put the value in quotes",
    ),
    case(
        "a control character",
        "kind: x\nmeta: \x07\n",
        "2:7: this control character cannot be in YAML",
    ),
    case(
        "not UTF-8", b"kind: x\nname: \xff\n", "2:7: the file is not UTF-8 here; save it as UTF-8"
    ),
    case("UTF-16", "kind: x".encode("utf-16"), "1:1: the file is not UTF-8 here"),
    case("an empty file", "", "1:1: the file holds no documents"),
    case("only comments", "# nothing\n---\n", "1:1: the file holds no documents"),
    case(
        "a key twice",
        MODEL + "  model: {source: share://n}\n",
        "5:3: the key 'model' is written twice, first in line 4; keep one",
    ),
    case(
        "a key that is a number",
        MODEL + "  1: x\n",
        "5:3: 1 cannot be a key; a key is text: put it in quotes",
    ),
    case(
        "an unknown tag",
        "kind: !!python/object:os.system x\n",
        "1:7: the tag !!python/object:os.system is not known; remove it",
    ),
    case(
        "an alias of nothing",
        "kind: *x\n",
        "1:7: *x refers to nothing; put &x before the value it should repeat",
    ),
    case("an alias of itself", "spec: &x [*x]\n", "1:11: *x is inside of what it repeats"),
    case(
        "an alias bomb",
        "a: &a [x, x, x, x, x, x, x, x, x]\n"
        + "".join(
            f"{n}: &{n} [{', '.join([f'*{p}'] * 9)}]\n"
            for p, n in zip("abcdefgh", "bcdefghi", strict=True)
        ),
        "6:4: the aliases expand to more than a manifest can be; write out what you mean",
    ),
    case("nested without end", "a: " + "[" * 2000, "1:43: the nesting is too deep"),
    case(
        "too large",
        "# " + "x" * (1 << 20),
        "1:1: the file has 1048577 bytes; a manifest takes 1048576; split it",
    ),
]

SHAPE = [
    case("no mapping", "- a\n", "1:1: this is not a document; start with kind: InferenceService"),
    case(
        "no kind",
        "metadata: {name: phi}\n",
        "1:1: the document's kind is missing; write kind: Environment or InferenceService",
    ),
    case(
        "an unknown kind",
        "kind: Service\n",
        "1:7: the kind 'Service' is not known; write kind: Environment or InferenceService",
    ),
    case(
        "a kind in lower case",
        "kind: environment\n",
        "1:7: the kind 'environment' is not known; write kind: Environment",
    ),
    case(
        "another version",
        "apiVersion: v1\n" + MODEL,
        '1:13: apiVersion is the text "v1"; write moorage.dev/v1alpha1',
    ),
    case(
        "no name",
        "kind: Environment\nmetadata: {}\n",
        "2:1: metadata.name is missing; add name: the name that services refer to",
    ),
    case("no spec", "kind: InferenceService\nmetadata: {name: phi}\n", "1:1: spec is missing"),
    case(
        "a slip in a key",
        MODEL + "  adapterz: []\n",
        "5:3: unknown key 'adapterz' in spec; did you mean 'adapters'?",
    ),
    case(
        "a key in snake case",
        MODEL + "  scale: {min_replicas: 1}\n",
        "5:11: unknown key 'min_replicas' in spec.scale; did you mean 'minReplicas'?",
    ),
    case(
        "a key one level too high",
        MODEL + "  minReplicas: 1\n",
        "5:3: unknown key 'minReplicas' in spec; it belongs in spec.scale",
    ),
    case(
        "a key nobody knows",
        MODEL + "  scale: {zzz: 1}\n",
        "5:11: unknown key 'zzz' in spec.scale; known here: minReplicas, maxReplicas",
    ),
    case(
        "a number in quotes",
        MODEL + '  scale: {maxReplicas: "2"}\n',
        '5:24: spec.scale.maxReplicas is the text "2"; write 2, without quotes',
    ),
    case(
        "a word for a number",
        MODEL + "  scale: {maxReplicas: two}\n",
        '5:24: spec.scale.maxReplicas is the text "two"; write a whole number',
    ),
    case(
        "true for a number",
        MODEL + "  scale: {maxReplicas: true}\n",
        "5:24: spec.scale.maxReplicas is true; write a whole number",
    ),
    case(
        "yes for true",
        MODEL + "  ingress: {external: yes}\n",
        '5:23: spec.ingress.external is the text "yes"; write true: YAML 1.2 knows only true and'
        " false",
    ),
    case(
        "off for false",
        ENVIRONMENT + "  syncPolicy: {prune: off}\n",
        '4:23: spec.syncPolicy.prune is the text "off"; write false',
    ),
    case(
        "a number for a text",
        ENVIRONMENT + "  tags: {costCenter: 4711}\n",
        '4:22: spec.tags.costCenter is the number 4711; put it in quotes: "4711"',
    ),
    case(
        "a mapping for a list",
        MODEL + "  adapters:\n    name: x\n",
        "6:5: spec.adapters is a mapping; write a list: start each item with '- '",
    ),
    case(
        "a text for a mapping",
        SERVICE + "  model: ./models/phi\n",
        '4:10: spec.model is the text "./models/phi"; write model: {source: ./models/phi}',
    ),
    case(
        "a word that is none",
        MODEL + "  rollout: {strategy: Blugreen}\n",
        '5:23: spec.rollout.strategy is the text "Blugreen"; write Auto, Surge, Recreate or'
        " BlueGreen; did you mean BlueGreen?",
    ),
    case(
        "too small",
        MODEL + "  scale: {maxReplicas: 0}\n",
        "5:24: spec.scale.maxReplicas is 0; write 1 or more",
    ),
    case(
        "too large a number",
        MODEL + "  scale: {maxReplicas: 1001}\n",
        "5:24: spec.scale.maxReplicas is 1001; write 1000 or less",
    ),
    case(
        "inside a list",
        MODEL
        + "  adapters:\n    - {name: a, source: share://a}\n    - {name: b, sorce: share://b}\n",
        "7:7: spec.adapters[1].source is missing",
        "7:17: unknown key 'sorce' in spec.adapters[1]; did you mean 'source'?",
    ),
    case(
        "several at once",
        MODEL + "  ingress: {external: 1}\n  scale: {maxReplicas: x}\n  nope: 1\n",
        "5:23: spec.ingress.external is the number 1",
        "6:24: spec.scale",
        "7:3: unknown key 'nope'",
    ),
]
