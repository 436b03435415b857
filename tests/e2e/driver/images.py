"""Image layouts and archives for the tests, written by hand so that hostile ones can be made, too."""
import gzip
import hashlib
import io
import json
import pathlib
import platform
import tarfile

ARCH = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]


def entry(name, data=None, kind=tarfile.REGTYPE, mode=0o644, uid=0, gid=0, link=""):
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.uid, info.gid, info.linkname = kind, mode, uid, gid, link
    if data is not None:
        info.size = len(data)
    return info, data


def directory(name, **kw):
    return entry(name, kind=tarfile.DIRTYPE, **{"mode": 0o755, **kw})


def symlink(name, target):
    return entry(name, kind=tarfile.SYMTYPE, link=target)


def hardlink(name, target):
    return entry(name, kind=tarfile.LNKTYPE, link=target)


def layer(*entries, form=tarfile.PAX_FORMAT):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for info, data in entries:
            tar.addfile(info, io.BytesIO(data) if data is not None else None)
    return out.getvalue()


def sha(data):
    return hashlib.sha256(data).hexdigest()


def config_json(layers, config=None, arch=ARCH):
    return json.dumps({"architecture": arch, "os": "linux", "config": config or {},
                       "rootfs": {"type": "layers", "diff_ids": [f"sha256:{sha(d)}" for d in layers]}}).encode()


def layout(path, layers, config=None, compress=gzip.compress, names=(None,), arch=ARCH):
    """An OCI image layout directory; layers are uncompressed tar bytes."""
    path = pathlib.Path(path)
    blobs = path / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def put(data, media):
        (blobs / sha(data)).write_bytes(data)
        return {"mediaType": media, "digest": f"sha256:{sha(data)}", "size": len(data)}

    manifest = json.dumps({
        "schemaVersion": 2,
        "config": put(config_json(layers, config, arch), "application/vnd.oci.image.config.v1+json"),
        "layers": [put(compress(data), "application/vnd.oci.image.layer.v1.tar+gzip") for data in layers]}).encode()
    described = put(manifest, "application/vnd.oci.image.manifest.v1+json")
    index = {"schemaVersion": 2, "manifests": [
        {**described, **({"annotations": {"org.opencontainers.image.ref.name": n}} if n else {})} for n in names]}
    (path / "index.json").write_text(json.dumps(index))
    (path / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    return path


def archive(path, source):
    """A tar archive of an OCI layout directory."""
    with tarfile.open(path, "w") as tar:
        for f in sorted(pathlib.Path(source).rglob("*")):
            tar.add(f, arcname=str(f.relative_to(source)), recursive=False)
    return path


def docker_archive(path, layers, config=None, tags=("demo:latest",)):
    """What `docker save` writes."""
    text = config_json(layers, config)
    files = {f"{sha(text)}.json": text}
    for i, data in enumerate(layers):
        files[f"{i}/layer.tar"] = data
    files["manifest.json"] = json.dumps([{"Config": f"{sha(text)}.json", "RepoTags": list(tags),
                                          "Layers": [f"{i}/layer.tar" for i in range(len(layers))]}]).encode()
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path
