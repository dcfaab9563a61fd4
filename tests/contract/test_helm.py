"""The chart: `helm lint`, and each example's manifests against the schemas of Kubernetes and of the operators."""

import json
import os
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
from ruamel.yaml import YAML
from touchline_runtime.config.env_vars import known_variables
from touchline_schemas.topics import TOPICS

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy/helm/touchline"
EXAMPLES = sorted((ROOT / "deploy/helm/examples").glob("*.yaml"))
RENDERED = ROOT / "deploy/kubernetes"
CRDS = Path(__file__).with_name("crds")
KUBERNETES = "1.33"
YAML_READER = YAML(typ="safe", pure=True)


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    tools = Path.home() / ".cache/touchline/tools/helm-3.22.0"
    path = shutil.which("helm", path=f"{os.environ['PATH']}{os.pathsep}{tools}")
    if path is None:
        pytest.skip("helm is missing: go install helm.sh/helm/v3/cmd/helm@v3.22.0")
    return subprocess.run(
        [path, *arguments, "--kube-version", f"{KUBERNETES}.0"],
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )


def template(values: Path, *arguments: str) -> str:
    done = helm("template", "touchline", str(CHART), "--namespace", "touchline", "-f", str(values), *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def manifests(text: str) -> list[dict[str, Any]]:
    return [document for document in YAML_READER.load_all(text) if document]


@pytest.mark.parametrize("values", EXAMPLES, ids=lambda path: path.stem)
def test_helm_lints_the_chart_with_each_example(values: Path) -> None:
    done = helm("lint", "--strict", str(CHART), "-f", str(values))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("values", EXAMPLES, ids=lambda path: path.stem)
def test_the_committed_manifests_are_what_the_chart_renders(values: Path) -> None:
    committed = (RENDERED / values.name).read_text()
    assert committed == template(values), f"helm template touchline {CHART.relative_to(ROOT)} -f … > {RENDERED}"


@pytest.mark.parametrize("values", EXAMPLES, ids=lambda path: path.stem)
def test_every_manifest_follows_its_schema(values: Path) -> None:
    found = manifests((RENDERED / values.name).read_text())
    assert len(found) > 15
    for manifest in found:
        name = f"{manifest['kind']} {manifest['metadata']['name']}"
        group, _, version = manifest["apiVersion"].rpartition("/")
        if "." in group and not group.endswith(".k8s.io"):
            schema = json.loads((CRDS / f"{group}_{version}_{manifest['kind']}.json").read_text())
            _refuse_unknown_fields(schema)
            jsonschema.validate(manifest, schema)
        else:
            try:
                kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
            except kubernetes_validate.ValidationError as error:
                pytest.fail(f"{name}: {error}")


def _refuse_unknown_fields(schema: Any) -> None:
    """The API server drops fields that a CRD does not name; here they are mistakes."""
    if isinstance(schema, dict):
        keeps_unknown = schema.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in schema
        if "properties" in schema and not keeps_unknown and "metadata" not in schema["properties"]:
            schema["additionalProperties"] = False
        for part in schema.values():
            _refuse_unknown_fields(part)
    elif isinstance(schema, list):
        for part in schema:
            _refuse_unknown_fields(part)


def pods(text: str) -> list[dict[str, Any]]:
    return [found["spec"]["template"]["spec"] for found in manifests(text) if found["kind"] in ("Deployment", "Job")]


@pytest.mark.parametrize("values", EXAMPLES, ids=lambda path: path.stem)
def test_containers_have_no_privileges_limits_probes_and_settings_that_exist(values: Path) -> None:
    text = (RENDERED / values.name).read_text()
    for pod in pods(text):
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["automountServiceAccountToken"] is False
        (container,) = pod["containers"]
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}
        names = Counter(variable["name"] for variable in container["env"])
        assert [name for name, times in names.items() if times > 1] == []
        assert {name for name in names if name.startswith("TOUCHLINE_")} - known_variables() == set()
        assert all(value.get("value") is None or "password" not in str(value["value"]) for value in container["env"])
        if "migrate" not in container["name"]:
            # Not the port that clients reach: connections that they hold, or a Host that is not allowed, would
            # have Kubernetes end the process.
            ports = [container[name]["httpGet"]["port"] for name in ("startupProbe", "livenessProbe", "readinessProbe")]
            assert ports == ["metrics"] * 3


@pytest.mark.parametrize("values", EXAMPLES, ids=lambda path: path.stem)
def test_metrics_are_on_a_port_of_their_own_that_the_monitoring_namespace_alone_reaches(values: Path) -> None:
    found = manifests((RENDERED / values.name).read_text())
    of_kind = {
        kind: [one for one in found if one["kind"] == kind]
        for kind in ("Deployment", "NetworkPolicy", "ServiceMonitor")
    }
    for deployment in of_kind["Deployment"]:
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        environment = {variable["name"]: variable.get("value") for variable in container["env"]}
        assert environment["TOUCHLINE_METRICS_PORT"] == str(ports["metrics"])
    for policy in of_kind["NetworkPolicy"]:
        rules = {rule["ports"][0]["port"]: rule["from"] for rule in policy["spec"]["ingress"]}
        assert rules["metrics"] == [
            {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
        ]
        assert rules["metrics"][0] not in rules["http"]
    for monitor in of_kind["ServiceMonitor"]:
        (endpoint,) = monitor["spec"]["endpoints"]
        assert endpoint["port"] == "metrics"
        component = monitor["metadata"]["labels"]["app.kubernetes.io/component"]
        assert endpoint["relabelings"] == [{"targetLabel": "job", "replacement": f"touchline-{component}"}]


def test_topics_in_the_cluster_are_those_of_the_registry() -> None:
    found = manifests((RENDERED / "operators.yaml").read_text())
    topics = {one["spec"]["topicName"]: one["spec"] for one in found if one["kind"] == "KafkaTopic"}
    assert topics.keys() == {topic.full_name() for topic in TOPICS}
    for topic in TOPICS:
        spec = topics[topic.full_name()]
        assert spec["partitions"] == (1 if topic.one_partition else 64)
        assert spec["config"] == topic.config()


def test_access_lists_name_topics_of_the_registry_alone() -> None:
    lists = json.loads((CHART / "files/acls.json").read_text())
    known = {topic.full_name("{prefix}") for topic in TOPICS}
    named = {acl["name"] for service in lists.values() for acl in service if acl["type"] == "topic"}
    assert named == known


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ("kafka: {bootstrapServers: ''}", "kafka.bootstrapServers is needed"),
        ("database: {urlSecret: {name: ''}}", "database.urlSecret.name is needed"),
        ("sources: {secret: ''}", "sources.secret is needed"),
        ("kafka: {credentials: {ingest: ''}}", "kafka.credentials.ingest is needed with SASL_SSL"),
        ("stageEngin: {replicas: 3}", "stageEngin"),
        ("notifier: {replicas: many}", "replicas"),
        ("kafka: {securityProtocol: TLS}", "securityProtocol"),
    ],
)
def test_a_mistake_in_the_values_is_named(values: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "mistake.yaml").write_text(values)
    example = ROOT / "deploy/helm/examples/existing-servers.yaml"
    done = helm("template", "x", str(CHART), "-f", str(example), "-f", str(tmp_path / "mistake.yaml"))
    assert done.returncode != 0
    assert message in done.stderr
