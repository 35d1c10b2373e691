"""Publish a trained model folder to the Hub:

python scripts/push_to_hub.py runs/clci-net org/clci-net
"""

import argparse
import sys

from hf_lesionseg.errors import LesionSegError


def main():
    parser = argparse.ArgumentParser(description="Publish a model folder with its card to the Hugging Face Hub.")
    parser.add_argument("folder", help="folder that training or save_pretrained wrote")
    parser.add_argument("repo_id", help="org/name")
    parser.add_argument("--private", action="store_true", help="publish to a private repository")
    parser.add_argument("--token", help="default: HF_TOKEN, or the one of `hf auth login`")
    parser.add_argument("--license", default="apache-2.0", help="licence of the weights (default: apache-2.0)")
    parser.add_argument("--commit_message")
    parser.add_argument("--no_remote_code", action="store_true", help="without source files for trust_remote_code")
    parser.add_argument("--no_splits", action="store_true", help="leave out the files that name cases and people")
    parser.add_argument("--verify", action="store_true", help="load the source files without this package first")
    options = parser.parse_args()

    from hf_lesionseg.hub.publish import publish

    try:
        address = publish(
            options.folder,
            options.repo_id,
            private=options.private,
            token=options.token,
            remote_code=not options.no_remote_code,
            splits=not options.no_splits,
            license=options.license,
            commit_message=options.commit_message,
            verify_remote_code=options.verify,
        )
    except LesionSegError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_status)
    print(address)


if __name__ == "__main__":
    main()
