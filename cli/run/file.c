/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "outcome.h"

/* The file that is meant: links are followed, so that none is replaced by a file. */
static char *find_target(const char *path)
{
	char *target = realpath(path, NULL);

	return target || errno != ENOENT ? target : strdup(path);
}

static int check_directory(const char *path)
{
	char *copy = strdup(path);
	int error = copy ? 0 : ENOMEM;

	if (copy && access(dirname(copy), W_OK | X_OK))
		error = errno;
	free(copy);
	return error;
}

/* Whether the file would be in that directory, whose files are those of a snapshot. */
static bool is_in(const char *path, const char *directory)
{
	char *copy = strdup(path);
	struct stat parent, info;
	bool in = copy && directory && !stat(directory, &info) && S_ISDIR(info.st_mode) &&
		  !stat(dirname(copy), &parent) && parent.st_dev == info.st_dev &&
		  parent.st_ino == info.st_ino;

	free(copy);
	return in;
}

int run_file_check(const char *option, const char *path, const char *snapshot, const char *save)
{
	char *target = find_target(path);
	struct stat info, other;
	int error = 0;

	if (!target || !*target)
		error = *path ? errno : ENOENT;
	else if (stat(target, &info))
		error = errno == ENOENT ? check_directory(target) : errno;
	else if (S_ISDIR(info.st_mode))
		error = EISDIR;
	else if (!S_ISREG(info.st_mode))
		error = access(target, W_OK) ? errno : 0;
	else if (snapshot && !stat(snapshot, &other) && other.st_dev == info.st_dev &&
		 other.st_ino == info.st_ino)
		error = EBUSY;
	else
		error = check_directory(target);
	if (!error && (is_in(target, snapshot) || is_in(target, save)))
		error = EEXIST;
	free(target);
	if (error == EEXIST)
		return run_refuse("%s %s is in the directory of a snapshot: give another file",
				  option, path);
	if (error == EBUSY)
		return run_refuse("%s %s is the snapshot: give another file", option, path);
	if (error)
		return run_refuse(
			"%s %s cannot be written (%s): give a file in a directory that you may "
			"write to",
			option, path, strerror(error));
	return 0;
}

/* Directory and name: what the file is when it is not there yet. */
static bool is_same_place(const char *path, const char *other)
{
	char *copies[4] = { strdup(path), strdup(path), strdup(other), strdup(other) };
	struct stat here, there;
	bool same = false;
	size_t i;

	if (copies[0] && copies[1] && copies[2] && copies[3])
		same = !strcmp(basename(copies[1]), basename(copies[3])) &&
		       !stat(dirname(copies[0]), &here) && !stat(dirname(copies[2]), &there) &&
		       here.st_dev == there.st_dev && here.st_ino == there.st_ino;
	for (i = 0; i < 4; i++)
		free(copies[i]);
	return same;
}

bool run_file_is_same(const char *path, const char *other)
{
	struct stat here, there;

	if (stat(path, &here) || stat(other, &there))
		return is_same_place(path, other);
	return S_ISREG(here.st_mode) && here.st_dev == there.st_dev && here.st_ino == there.st_ino;
}

static int write_all(int fd, const char *data, size_t length)
{
	while (length) {
		ssize_t done = write(fd, data, length);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return done ? errno : EIO;
		data += done;
		length -= (size_t)done;
	}
	return 0;
}

/* A device or a pipe takes what there is. */
static int write_in_place(const char *target, const char *data, size_t length)
{
	int fd = open(target, O_WRONLY | O_CLOEXEC);
	int error;

	if (fd < 0)
		return errno;
	error = write_all(fd, data, length);
	if (close(fd) && !error)
		error = errno;
	return error;
}

static int write_beside(const char *target, const char *data, size_t length)
{
	mode_t mask = umask(0);
	char *name = NULL;
	int fd, error = 0;

	umask(mask);
	if (asprintf(&name, "%s.XXXXXX", target) < 0)
		return ENOMEM;
	fd = mkostemp(name, O_CLOEXEC);
	if (fd < 0) {
		error = errno;
	} else {
		error = write_all(fd, data, length);
		if (!error && fchmod(fd, 0666 & ~mask))
			error = errno;
		if (close(fd) && !error)
			error = errno;
		if (!error && rename(name, target))
			error = errno;
		if (error)
			unlink(name);
	}
	free(name);
	return error;
}

int run_file_write(const char *option, const char *path, const char *data, size_t length)
{
	char *target = data ? find_target(path) : NULL;
	struct stat info;
	int error;

	if (!target)
		error = ENOMEM;
	else if (!stat(target, &info) && !S_ISREG(info.st_mode))
		error = write_in_place(target, data, length);
	else
		error = write_beside(target, data, length);
	free(target);
	if (!error)
		return 0;
	fprintf(stderr,
		"gmm run: %s %s cannot be written (%s): free space there, or give another file\n",
		option, path, strerror(error));
	return -1;
}
