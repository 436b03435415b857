/* The parts of the host's /var that belong to installed software; read-only in a sandbox. The rest of /var is
 * data of the machine and its users, and starts empty. */
X("var/lib/dpkg")
X("var/lib/rpm")
X("var/lib/pacman")
X("var/lib/texmf")
X("var/lib/aspell")
X("var/lib/dictionaries-common")
X("var/lib/emacsen-common")
X("var/lib/ghostscript")
X("var/lib/python")
X("var/cache/fontconfig")
