"""The version of this project, which sidecars record; CHANGELOG.md says what each version brought."""

VERSION = "1.0.0"
