"""Writes a package index that any static host serves: the folder `simple` beside wheels and sdists (PEP 503).

    simple_index.py FOLDER

FOLDER/simple/index.html lists the projects, and FOLDER/simple/PROJECT/index.html the files of one, each with its hash.
index.json beside each says the same (PEP 691), for hosts that choose by what is asked for. A wheel's metadata lies
beside it (PEP 658), so that an installer can resolve without fetching wheels. Files are linked, not copied, where the
system can.
"""

import collections
import email.parser
import hashlib
import html
import json
import os
import pathlib
import re
import shutil
import sys
import tarfile
import zipfile


def main():
    folder = pathlib.Path(sys.argv[1])
    simple = folder / "simple"
    shutil.rmtree(simple, ignore_errors=True)
    projects = collections.defaultdict(list)
    for path in sorted([*folder.glob("*.whl"), *folder.glob("*.tar.gz")]):
        text = metadata(path)
        fields = email.parser.BytesParser().parsebytes(text)
        project = re.sub("[-_.]+", "-", fields["Name"]).lower()
        projects[project].append(publish(path, text, fields, simple / project))
    if not projects:
        sys.exit(f"{folder} has no wheels and no sdists")
    for project, files in projects.items():
        write_project(simple / project, project, files)
    names = sorted(projects)
    links = [f'<a href="{name}/">{name}</a>' for name in names]
    described = {"meta": {"api-version": "1.1"}, "projects": [{"name": name} for name in names]}
    write(simple, "Simple index", links, described)


def metadata(path):
    """What a distribution says of itself."""
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as wheel:
            name = next(name for name in wheel.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", name))
            return wheel.read(name)
    with tarfile.open(path) as sdist:
        name = next(name for name in sdist.getnames() if re.fullmatch(r"[^/]+/PKG-INFO", name))
        return sdist.extractfile(name).read()


def publish(path, text, fields, folder):
    """Puts a file into the index, and describes it as PEP 691 does."""
    folder.mkdir(parents=True, exist_ok=True)
    published = folder / path.name
    try:
        os.link(path, published)
    except OSError:
        shutil.copy2(path, published)
    described = {
        "filename": path.name,
        "url": path.name.replace("+", "%2B"),
        "hashes": {"sha256": sha256(path.read_bytes())},
        "size": path.stat().st_size,
        "requires-python": fields["Requires-Python"],
    }
    if path.suffix == ".whl":
        (folder / f"{path.name}.metadata").write_bytes(text)
        described["core-metadata"] = {"sha256": sha256(text)}
    return {"version": fields["Version"], **described}


def write_project(folder, project, files):
    links = []
    for file in files:
        attributes = {"href": f"{file['url']}#sha256={file['hashes']['sha256']}"}
        attributes["data-requires-python"] = file["requires-python"]
        if "core-metadata" in file:
            # The older name of the attribute is what pip before 23.3 knows.
            for name in ("data-core-metadata", "data-dist-info-metadata"):
                attributes[name] = f"sha256={file['core-metadata']['sha256']}"
        pairs = " ".join(f'{name}="{html.escape(value)}"' for name, value in attributes.items())
        links.append(f"<a {pairs}>{html.escape(file['filename'])}</a>")
    described = [{name: value for name, value in file.items() if name != "version"} for file in files]
    versions = sorted({file["version"] for file in files})
    meta = {"api-version": "1.1"}
    write(folder, project, links, {"meta": meta, "name": project, "versions": versions, "files": described})


def write(folder, title, links, described):
    head = f'<meta charset="utf-8"><meta name="pypi:repository-version" content="1.1"><title>{title}</title>'
    body = "".join(f"{link}<br>\n" for link in links)
    (folder / "index.html").write_text(f"<!DOCTYPE html>\n<html><head>{head}</head><body>\n{body}</body></html>\n")
    (folder / "index.json").write_text(json.dumps(described, indent=1) + "\n")


def sha256(data):
    return hashlib.sha256(data).hexdigest()


if __name__ == "__main__":
    main()
