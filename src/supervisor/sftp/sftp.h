/* A small SFTP server (version 3, draft-ietf-secsh-filexfer-02) for images without one. It is another program
 * inside this one: `openshell-sandbox sftp-server`, started by the agent like any command, under the agent's
 * identity and isolation. It has no rights of its own and decides nothing. */
#ifndef SUPERVISOR_SFTP_H
#define SUPERVISOR_SFTP_H

/* Serves standard input and output until the end of input. Exit status. */
int sftp_main(void);

#endif
