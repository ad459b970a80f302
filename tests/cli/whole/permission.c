/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * What a user may not do: userfaultfd is refused by a filter of system calls, /dev/kvm by the
 * permissions of another user. One line that names it and the way out; by default the run goes on
 * without KVM.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <linux/filter.h>
#include <linux/seccomp.h>

#define NOBODY 65534
#define CANNOT_RUN 99

struct result {
	int status;
	char out[4096];
	char err[4096];
};

static void refuse_userfaultfd(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_userfaultfd, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { .len = 4, .filter = filter };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		_exit(CANNOT_RUN);
}

static void child(int command, const char *const *arguments, int filtered, int out, int err)
{
	if (geteuid() == 0 && (setgroups(0, NULL) || setgid(NOBODY) || setuid(NOBODY)))
		_exit(CANNOT_RUN);
	setenv("TMPDIR", "/var/tmp", 1);
	if (filtered)
		refuse_userfaultfd();
	dup2(out, STDOUT_FILENO);
	dup2(err, STDERR_FILENO);
	alarm(60);
	fexecve(command, (char *const *)arguments, environ);
	_exit(CANNOT_RUN);
}

static void read_back(FILE *file, char *text, size_t size)
{
	size_t length;

	rewind(file);
	length = fread(text, 1, size - 1, file);
	text[length] = '\0';
	fclose(file);
}

/* Runs the command as another user when this one is root. */
static void run_command(const char *const *arguments, int filtered, struct result *result)
{
	FILE *out = tmpfile(), *err = tmpfile();
	int command, status;
	pid_t pid;

	assert_non_null(out);
	assert_non_null(err);
	if (!getenv("GMM")) {
		print_message("GMM is not set: there is no command to run\n");
		skip();
	}
	/* The other user may not be able to reach it by its name. */
	command = open(getenv("GMM"), O_PATH | O_CLOEXEC);
	assert_true(command >= 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		child(command, arguments, filtered, fileno(out), fileno(err));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	close(command);
	read_back(out, result->out, sizeof(result->out));
	read_back(err, result->err, sizeof(result->err));
	assert_true(WIFEXITED(status));
	result->status = WEXITSTATUS(status);
	if (result->status == CANNOT_RUN) {
		print_message("another user cannot run %s, or there are no filters here\n",
			      getenv("GMM"));
		skip();
	}
}

static void assert_one_line(const char *text)
{
	const char *end = strchr(text, '\n');

	if (!end || end[1])
		fail_msg("not one line: %s", text);
}

static void assert_has(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("no '%s' in: %s", part, text);
}

static void test_userfaultfd(void **state)
{
	const char *const arguments[] = { "gmm", "run",	       "--accel", "process", "--memory",
					  "1M",	 "--duration", "0.1",	  NULL };
	struct result result;

	run_command(arguments, 1, &result);
	if (result.status == 0) {
		print_message("/dev/userfaultfd is open to every user here\n");
		skip();
	}
	assert_int_equal(result.status, 2);
	assert_one_line(result.err);
	assert_has(result.err, "userfaultfd is not allowed for this user: run as root");
	assert_string_equal(result.out, "");
}

static void test_kvm(void **state)
{
	const char *const arguments[] = { "gmm", "run",	       "--accel", "kvm", "--memory",
					  "1M",	 "--duration", "0.1",	  NULL };
	struct result result;

	run_command(arguments, 0, &result);
	if (result.status == 0) {
		print_message("/dev/kvm and userfaultfd are open to every user here\n");
		skip();
	}
	assert_int_equal(result.status, 2);
	assert_one_line(result.err);
	assert_has(result.err, "--accel process");
	assert_string_equal(result.out, "");
}

static void test_goes_on_without_kvm(void **state)
{
	const char *const arguments[] = {
		"gmm", "run", "--memory", "1M", "--duration", "0.1", NULL
	};
	struct result result;

	run_command(arguments, 0, &result);
	if (strstr(result.out, "accel kvm")) {
		print_message("/dev/kvm and userfaultfd are open to every user here\n");
		skip();
	}
	if (result.status == 2 && strstr(result.err, "userfaultfd")) {
		print_message("%s", result.err);
		skip();
	}
	assert_int_equal(result.status, 0);
	assert_has(result.out, "KVM cannot be used: ");
	assert_has(result.out, "not verified on KVM");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_userfaultfd),
		cmocka_unit_test(test_kvm),
		cmocka_unit_test(test_goes_on_without_kvm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
