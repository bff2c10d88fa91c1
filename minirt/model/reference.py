# SPDX-License-Identifier: Apache-2.0
"""Names of images as Docker reads them: "nginx" means docker.io/library/nginx:latest.

The grammar is that of the distribution project (reference/reference.go), its normalisation that of
reference/normalize.go. Written by hand, because `re` alone costs more than finding an image does.
Pure; imports nothing but the error tree.

    reference  = [domain "/"] path [":" tag] ["@" digest]
    domain     = host [":" digits]; host = labels joined by "." | "[" IPv6 "]"
    path       = component *("/" component)
    component  = alnum *(separator alnum), lower case; separator = "." | "_" | "__" | 1*"-"
    tag        = word *127(word | "." | "-"); digest = "sha256:" 64 lower-case hexadecimal digits
"""

from __future__ import annotations

from minirt.errors import InvalidValue

DEFAULT_DOMAIN = "docker.io"
DEFAULT_TAG = "latest"
PATH_LIMIT = 255
TAG_LIMIT = 128
_TEXT_LIMIT = 2048

_LOWER = "abcdefghijklmnopqrstuvwxyz0123456789"
_ALNUM = _LOWER + "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_HEX = "0123456789abcdef"
_DIGEST_LENGTHS = {"sha256": 64, "sha384": 96, "sha512": 128}


class Reference:
    """A parsed name. `tag` and `digest` are None where the text had none."""

    __slots__ = ("domain", "path", "tag", "digest")

    def __init__(self, domain: str, path: str, tag: str | None, digest: str | None) -> None:
        self.domain = domain
        self.path = path
        self.tag = tag
        self.digest = digest

    @property
    def name(self) -> str:
        """The repository: "docker.io/library/nginx"."""
        return f"{self.domain}/{self.path}"

    @property
    def familiar(self) -> str:
        """The repository as Docker shows it: "nginx", "bitnami/redis", "quay.io/x". One that would be read as another
        when it is written so ("docker.io/quay.io/x") is shown in full."""
        if self.domain != DEFAULT_DOMAIN:
            return self.name
        rest = self.path.removeprefix("library/")
        if "/" in rest:
            return self.path if _split_domain(self.path)[1] == self.path else self.name
        return self.path if is_id(rest) else rest

    def tagged(self) -> Reference:
        """The same with the tag "latest" where neither a tag nor a digest is given."""
        if self.tag is None and self.digest is None:
            return Reference(self.domain, self.path, DEFAULT_TAG, None)
        return self

    def __str__(self) -> str:
        return self.name + self._suffix()

    def short(self) -> str:
        """As Docker shows it: "nginx:latest"."""
        return self.familiar + self._suffix()

    def _suffix(self) -> str:
        tag = f":{self.tag}" if self.tag is not None else ""
        return tag + (f"@{self.digest}" if self.digest is not None else "")

    def _key(self) -> tuple[str, str, str | None, str | None]:
        return (self.domain, self.path, self.tag, self.digest)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Reference) and other._key() == self._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        return f"Reference({str(self)!r})"


def parse(text: str) -> Reference:
    """The reference that Docker would use for `text`; InvalidValue says which rule a malformed one breaks.

    The first component is a domain only where it holds "." or ":" or an upper-case letter, or is "localhost".
    """
    if not text:
        raise _malformed(text, "it is empty")
    if len(text) > _TEXT_LIMIT:
        raise _malformed(text, f"it is longer than {_TEXT_LIMIT} characters")
    if is_id(text):
        raise _malformed(text, "64 hexadecimal digits are an image's id, not a name")
    rest, at, digest = text.partition("@")
    if at:
        fault = digest_fault(digest)
        if fault:
            raise _malformed(text, fault)
    domain, path = _split_domain(rest)
    path, colon, tag = path.partition(":")
    if colon:
        _check_tag(text, tag)
    _check_domain(text, domain)
    if domain == DEFAULT_DOMAIN and "/" not in path and path:
        path = f"library/{path}"
    _check_path(text, path)
    return Reference(domain, path, tag if colon else None, digest if at else None)


def digest_fault(text: str) -> str:
    """What is wrong with a digest, "" for a good one: algorithm ":" as many lower-case hex digits as it has."""
    algorithm, colon, value = text.partition(":")
    if not colon:
        return f"{_quote(text)} is not a digest: it has no colon"
    length = _DIGEST_LENGTHS.get(algorithm)
    if length is None:
        return f"{_quote(algorithm)} is not a digest algorithm that OCI registers"
    if len(value) != length:
        return f"a {algorithm} digest has {length} hexadecimal digits, not {len(value)}"
    if not is_hex(value):
        return f"{_quote(value)} is not made of lower-case hexadecimal digits"
    return ""


def sha256_hex(text: object, what: str = "digest") -> str:
    """The 64 hexadecimal digits of "sha256:…": the only form from which a path in the store may be built."""
    if not isinstance(text, str):
        raise InvalidValue(f"{what} is not a string")
    fault = digest_fault(text)
    if fault:
        raise InvalidValue(f"{what}: {fault}")
    algorithm, _, value = text.partition(":")
    if algorithm != "sha256":
        raise InvalidValue(f"{what}: {algorithm} is not supported", "the store keeps sha256 digests only")
    return value


def is_hex(text: str) -> bool:
    return bool(text) and not text.strip(_HEX) and all(letter in _HEX for letter in text)


def is_id(text: str) -> bool:
    """64 hexadecimal digits: what an image, a blob and a layer are called in the store."""
    return len(text) == 64 and is_hex(text)


def _split_domain(text: str) -> tuple[str, str]:
    first, slash, rest = text.partition("/")
    if not slash:
        return DEFAULT_DOMAIN, text
    if first == "index.docker.io":
        return DEFAULT_DOMAIN, rest
    named = "." in first or ":" in first or first == "localhost" or first.lower() != first
    return (first, rest) if named else (DEFAULT_DOMAIN, text)


def _check_domain(text: str, domain: str) -> None:
    """domain = host [":" 1*digit]; a label is letters, digits and inner hyphens; an IPv6 address stands in []."""
    if domain.startswith("["):
        address, bracket, port = domain[1:].partition("]")
        if not bracket or not address or not _only(address, "0123456789abcdefABCDEF:"):
            raise _malformed(text, f"{_quote(domain)} is not an IPv6 address in brackets")
        if port and not (port[0] == ":" and _only(port[1:], "0123456789")):
            raise _malformed(text, f"the registry {_quote(domain)} has a malformed port")
        return
    host, colon, port = domain.partition(":")
    if colon and not _only(port, "0123456789"):
        raise _malformed(text, f"the registry {_quote(domain)} has a malformed port")
    for label in host.split("."):
        if not _only(label, _ALNUM + "-") or label[0] == "-" or label[-1] == "-":
            raise _malformed(text, f"the registry {_quote(domain)} is not a host name")


def _check_path(text: str, path: str) -> None:
    if path.lower() != path:
        raise _malformed(text, f"the repository name {_quote(path)} must be lower case")
    for component in path.split("/"):
        fault = _component_fault(component)
        if fault:
            raise _malformed(text, fault)
    if len(path) > PATH_LIMIT:
        raise _malformed(text, f"the repository name is longer than {PATH_LIMIT} characters")


def _component_fault(component: str) -> str:
    """component = alnum *(("." | "_" | "__" | 1*"-") alnum): a separator stands between two of them, alone."""
    if not component:
        return "a component of the repository name is empty"
    if not _only(component, _LOWER + "._-"):
        return f"{_quote(component)} holds a character other than a-z, 0-9, '.', '_' and '-'"
    if component[0] not in _LOWER or component[-1] not in _LOWER:
        return f"{_quote(component)} begins or ends with a separator"
    gap = ""
    for letter in component:
        if letter in _LOWER:
            if gap not in ("", ".", "_", "__") and gap.strip("-"):
                return f"{_quote(gap)} is not a separator in {_quote(component)}"
            gap = ""
        else:
            gap += letter
    return ""


def _check_tag(text: str, tag: str) -> None:
    if not tag:
        raise _malformed(text, "the tag is empty")
    if len(tag) > TAG_LIMIT:
        raise _malformed(text, f"the tag is longer than {TAG_LIMIT} characters")
    if not _only(tag, _ALNUM + "_.-") or tag[0] in ".-":
        raise _malformed(text, f"{_quote(tag)} is not a tag: letters, digits, '_', '.', '-', not '.' or '-' first")


def _only(text: str, letters: str) -> bool:
    """Whether `text` is not empty and holds nothing but `letters`."""
    return bool(text) and all(letter in letters for letter in text)


def _quote(text: str) -> str:
    return ascii(text if len(text) <= 80 else text[:77] + "...")


def _malformed(text: str, why: str) -> InvalidValue:
    return InvalidValue(f"invalid reference format: {_quote(text)}: {why}", "write [HOST[:PORT]/]NAME[:TAG][@DIGEST]")
