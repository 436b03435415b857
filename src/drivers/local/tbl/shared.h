/* Top-level directories of the host that make its system; a sandbox sees these, each below a writable layer
 * of its own, and nothing else of the host's root. Symbolic links among them are copied. */
X("bin")
X("sbin")
X("lib")
X("lib32")
X("lib64")
X("libx32")
X("usr")
X("etc")
X("opt")
X("nix")
