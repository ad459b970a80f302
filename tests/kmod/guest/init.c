/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The first process of the machine that scripts/module-test boots. Its command line says what to do,
 * a word each, in this order: `insmod=FILE` loads a module, `run=PROGRAM` runs a program and prints
 * how it ended, `rmmod=NAME` takes a module out again. Then it powers the machine off.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void insert(const char *file)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || syscall(SYS_finit_module, fd, "", 0))
		printf("# insmod %s: %s\n", file, strerror(errno));
	else
		printf("# insmod %s: done\n", file);
	if (fd >= 0)
		close(fd);
}

static void take_out(const char *name)
{
	if (syscall(SYS_delete_module, name, O_NONBLOCK))
		printf("# rmmod %s: %s\n", name, strerror(errno));
	else
		printf("# rmmod %s: done\n", name);
}

static void run(const char *program)
{
	char *arguments[] = { (char *)program, NULL };
	int status = -1;
	pid_t child = fork();

	if (!child) {
		execv(program, arguments);
		_exit(127);
	}
	if (child < 0 || waitpid(child, &status, 0) != child)
		printf("# run %s: %s\n", program, strerror(errno));
	else if (WIFEXITED(status))
		printf("# run %s: exit status %d\n", program, WEXITSTATUS(status));
	else
		printf("# run %s: signal %d\n", program, WTERMSIG(status));
}

/* Records of a lower level than this are printed. */
static void console_level(int level)
{
	FILE *file = fopen("/proc/sys/kernel/printk", "w");

	if (file) {
		fprintf(file, "%d", level);
		fclose(file);
	}
}

int main(int argc, char **argv)
{
	int i, log;

	mkdir("/dev", 0755);
	mkdir("/proc", 0755);
	mkdir("/sys", 0755);
	mkdir("/tmp", 01777);
	mount("proc", "/proc", "proc", 0, NULL);
	mount("sysfs", "/sys", "sysfs", 0, NULL);
	mount("dev", "/dev", "devtmpfs", 0, NULL);
	/* A line is a record of the kernel's log, so lines of programs and kernel do not mix. */
	log = open("/dev/kmsg", O_WRONLY);
	if (log >= 0) {
		dup2(log, STDOUT_FILENO);
		dup2(log, STDERR_FILENO);
	}
	setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
	console_level(7);
	for (i = 1; i < argc; i++) {
		if (!strncmp(argv[i], "insmod=", 7))
			insert(argv[i] + 7);
		else if (!strncmp(argv[i], "rmmod=", 6))
			take_out(argv[i] + 6);
		else if (!strncmp(argv[i], "run=", 4))
			run(argv[i] + 4);
	}
	printf("# all done\n");
	console_level(1);
	reboot(RB_POWER_OFF);
	return 1;
}
