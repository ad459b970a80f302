/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * A manifest is not trusted: every field has its type, its range and what it must agree with, and
 * there is no other. What is wrong is named in one line.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

#include "backing/failure_impl.h"
#include "backing/file_io_impl.h"
#include "manifest_impl.h"

#define FORMAT "guestmm-snapshot"
#define VERSION 1
#define ID_DIGITS 16u
/* A chain of the greatest length has less than 20 KiB. */
#define TEXT_MOST 65536u
#define WAY_OUT "save again, or copy the directory again from where it was whole"

struct parse {
	const char *directory, *name;
	char *text;
	size_t text_size;
};

/* A line is one line, whatever the file has in it. */
static void make_printable(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			*text = '?';
}

GMM_PRINTF(2, 3) static int refuse(const struct parse *parse, const char *format, ...)
{
	char what[200];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(what, sizeof(what), format, arguments);
	va_end(arguments);
	make_printable(what);
	return gmm_refuse(parse->text, parse->text_size, -GMM_EINVAL, "%s/%s: %s: %s",
			  parse->directory, parse->name, what, WAY_OUT);
}

/* `where` is the object's place, such as "chain[2].", for messages. */
static int read_number(const struct parse *parse, json_t *object, const char *where,
		       const char *field, uint64_t least, uint64_t most, uint64_t *value)
{
	json_t *found = json_object_get(object, field);
	json_int_t number;

	if (!found)
		return refuse(parse, "%s%s is missing", where, field);
	if (!json_is_integer(found))
		return refuse(parse, "%s%s is no whole number", where, field);
	number = json_integer_value(found);
	if (least == most && number != (json_int_t)least)
		return refuse(parse, "%s%s is %lld, and must be %llu", where, field,
			      (long long)number, (unsigned long long)least);
	if (number < 0 || (uint64_t)number < least || (uint64_t)number > most)
		return refuse(parse, "%s%s is %lld, not within %llu to %llu", where, field,
			      (long long)number, (unsigned long long)least,
			      (unsigned long long)most);
	*value = (uint64_t)number;
	return 0;
}

static int read_string(const struct parse *parse, json_t *object, const char *where,
		       const char *field, const char **value)
{
	json_t *found = json_object_get(object, field);

	if (!found)
		return refuse(parse, "%s%s is missing", where, field);
	if (!json_is_string(found))
		return refuse(parse, "%s%s is no string", where, field);
	*value = json_string_value(found);
	return 0;
}

static bool parse_digits(const char *text, uint64_t *value)
{
	uint32_t i;

	*value = 0;
	for (i = 0; i < ID_DIGITS; i++) {
		char digit = text[i];

		if (digit >= '0' && digit <= '9')
			*value = *value << 4 | (uint64_t)(digit - '0');
		else if (digit >= 'a' && digit <= 'f')
			*value = *value << 4 | (uint64_t)(digit - 'a' + 10);
		else
			return false;
	}
	return true;
}

static int read_digits(const struct parse *parse, json_t *object, const char *where,
		       const char *field, uint64_t *value)
{
	const char *digits;
	int error = read_string(parse, object, where, field, &digits);

	if (error)
		return error;
	if (!parse_digits(digits, value) || digits[ID_DIGITS])
		return refuse(parse, "%s%s is not %u digits of 0 to 9 and a to f", where, field,
			      ID_DIGITS);
	return 0;
}

/* By kind. */
static const char *const kind_words[] = { "base", "increment" };
static const char *const suffixes[] = { ".raw", ".pages" };

void gmm_snapshot_name_make(enum snapshot_kind kind, uint64_t id, char name[SNAPSHOT_NAME_BYTES])
{
	snprintf(name, SNAPSHOT_NAME_BYTES, "%s-%016" PRIx64 "%s", kind_words[kind], id,
		 suffixes[kind]);
}

static bool name_is_of(const char *name, enum snapshot_kind kind)
{
	char made[SNAPSHOT_NAME_BYTES];
	size_t word = strlen(kind_words[kind]);
	uint64_t id;

	if (strncmp(name, kind_words[kind], word) || name[word] != '-' ||
	    !parse_digits(name + word + 1, &id))
		return false;
	gmm_snapshot_name_make(kind, id, made);
	return !strcmp(name, made);
}

bool gmm_snapshot_name_is_ours(const char *name)
{
	return name_is_of(name, SNAPSHOT_BASE) || name_is_of(name, SNAPSHOT_INCREMENT);
}

/* There is no other field; the list ends with NULL. */
static int check_fields(const struct parse *parse, json_t *object, const char *where,
			const char *const *known)
{
	const char *key;
	json_t *value;
	uint32_t i;

	json_object_foreach(object, key, value)
	{
		for (i = 0; known[i] && strcmp(known[i], key); i++)
			;
		if (!known[i])
			return refuse(parse, "%s%.40s is an unknown field", where, key);
	}
	return 0;
}

static int read_name(const struct parse *parse, json_t *object, const char *where,
		     const struct snapshot_manifest *manifest, struct snapshot_file *file)
{
	const char *name;
	uint32_t i;
	int error = read_string(parse, object, where, "name", &name);

	if (error)
		return error;
	if (!name_is_of(name, file->kind))
		return refuse(parse, "%sname is no name of such a file", where);
	for (i = 0; i < manifest->count; i++)
		if (!strcmp(manifest->files[i].name, name))
			return refuse(parse, "%sname is that of chain[%u], too", where, i);
	snprintf(file->name, sizeof(file->name), "%s", name);
	return 0;
}

static int read_base(const struct parse *parse, json_t *object, const char *where,
		     const struct snapshot_manifest *manifest, struct snapshot_file *file)
{
	static const char *const known[] = { "kind", "name", "bytes", "pages_xxh3", NULL };
	uint64_t bytes = manifest->page_count << manifest->page_shift;
	int error = check_fields(parse, object, where, known);

	if (!error)
		error = read_name(parse, object, where, manifest, file);
	if (!error)
		error = read_number(parse, object, where, "bytes", bytes, bytes, &file->bytes);
	if (!error)
		error = read_digits(parse, object, where, "pages_xxh3", &file->pages_sum);
	file->pages = manifest->page_count;
	return error;
}

static int read_increment(const struct parse *parse, json_t *object, const char *where,
			  const struct snapshot_manifest *manifest, struct snapshot_file *file)
{
	static const char *const known[] = { "kind",	    "name",	  "bytes", "pages",
					     "bitmap_xxh3", "pages_xxh3", NULL };
	uint64_t bytes = gmm_snapshot_bitmap_bytes(manifest->page_count, manifest->page_shift);
	int error = check_fields(parse, object, where, known);

	if (!error)
		error = read_name(parse, object, where, manifest, file);
	if (!error)
		error = read_number(parse, object, where, "pages", 0, manifest->page_count,
				    &file->pages);
	if (error)
		return error;
	bytes += file->pages << manifest->page_shift;
	error = read_number(parse, object, where, "bytes", bytes, bytes, &file->bytes);
	if (!error)
		error = read_digits(parse, object, where, "bitmap_xxh3", &file->bitmap_sum);
	if (!error)
		error = read_digits(parse, object, where, "pages_xxh3", &file->pages_sum);
	return error;
}

static int read_file(const struct parse *parse, json_t *object, struct snapshot_manifest *manifest)
{
	struct snapshot_file *file = &manifest->files[manifest->count];
	enum snapshot_kind kind = manifest->count ? SNAPSHOT_INCREMENT : SNAPSHOT_BASE;
	const char *word;
	char where[24];
	int error;

	snprintf(where, sizeof(where), "chain[%u].", manifest->count);
	if (!json_is_object(object))
		return refuse(parse, "chain[%u] is no object", manifest->count);
	error = read_string(parse, object, where, "kind", &word);
	if (error)
		return error;
	/* A base is the first, and there is no other. */
	if (strcmp(word, kind_words[kind]))
		return refuse(parse, "%skind is not \"%s\"", where, kind_words[kind]);
	*file = (struct snapshot_file){ .kind = kind };
	error = kind == SNAPSHOT_BASE ? read_base(parse, object, where, manifest, file) :
					read_increment(parse, object, where, manifest, file);
	manifest->count++;
	return error;
}

static int read_chain(const struct parse *parse, json_t *root, struct snapshot_manifest *manifest)
{
	json_t *chain = json_object_get(root, "chain");
	uint64_t packed = 0;
	size_t i;
	int error;

	if (!chain)
		return refuse(parse, "chain is missing");
	if (!json_is_array(chain))
		return refuse(parse, "chain is no list");
	if (json_array_size(chain) < 1 || json_array_size(chain) > GMM_SNAPSHOT_CHAIN_MAX)
		return refuse(parse, "chain has %zu files, not 1 to %u", json_array_size(chain),
			      GMM_SNAPSHOT_CHAIN_MAX);
	for (i = 0; i < json_array_size(chain); i++) {
		error = read_file(parse, json_array_get(chain, i), manifest);
		if (error)
			return error;
		packed += i ? manifest->files[i].pages : 0;
	}
	if (packed > GMM_SNAPSHOT_PAGES_MAX)
		return refuse(parse, "chain has %llu pages in increments, more than %u",
			      (unsigned long long)packed, GMM_SNAPSHOT_PAGES_MAX);
	return 0;
}

static int read_version(const struct parse *parse, json_t *root)
{
	const char *format;
	uint64_t version;
	int error = read_string(parse, root, "", "format", &format);

	if (error)
		return error;
	if (strcmp(format, FORMAT))
		return refuse(parse, "format is not \"%s\"", FORMAT);
	error = read_number(parse, root, "", "version", 0, INT32_MAX, &version);
	if (error)
		return error;
	if (version != VERSION)
		return gmm_refuse(parse->text, parse->text_size, -GMM_EINVAL,
				  "%s/%s: version is %llu, and only version %d is known here: use "
				  "the gmm that wrote it, or save again",
				  parse->directory, parse->name, (unsigned long long)version,
				  VERSION);
	return 0;
}

static int read_root(const struct parse *parse, json_t *root, struct snapshot_manifest *manifest)
{
	static const char *const known[] = { "format",	   "version",	 "id",	  "time",
					     "page_bytes", "page_count", "chain", NULL };
	uint64_t page_bytes = 0;
	int error;

	if (!json_is_object(root))
		return refuse(parse, "is no object");
	error = read_version(parse, root);
	if (!error)
		error = check_fields(parse, root, "", known);
	if (!error)
		error = read_digits(parse, root, "", "id", &manifest->id);
	if (!error)
		error = read_number(parse, root, "", "time", 0, INT64_MAX, &manifest->time);
	if (!error)
		error = read_number(parse, root, "", "page_bytes", 1u << GMM_BACKING_PAGE_SHIFT_MIN,
				    1u << GMM_BACKING_PAGE_SHIFT_MAX, &page_bytes);
	if (!error && (page_bytes & (page_bytes - 1)))
		error = refuse(parse, "page_bytes is %llu, no power of two",
			       (unsigned long long)page_bytes);
	if (!error)
		error = read_number(parse, root, "", "page_count", 1, GMM_SNAPSHOT_PAGES_MAX,
				    &manifest->page_count);
	if (error)
		return error;
	manifest->page_shift = (uint32_t)__builtin_ctzll(page_bytes);
	return read_chain(parse, root, manifest);
}

static int load_text(const struct parse *parse, int fd, char *buffer, size_t *length)
{
	struct stat info;
	char reason[128];
	int error;

	if (fstat(fd, &info))
		return gmm_refuse(parse->text, parse->text_size, -GMM_EIO,
				  "%s/%s: cannot be examined (%s): check the disk",
				  parse->directory, parse->name,
				  gmm_errno_text(errno, reason, sizeof(reason)));
	if (!S_ISREG(info.st_mode))
		return refuse(parse, "is no regular file");
	if (info.st_size <= 0 || info.st_size > TEXT_MOST)
		return refuse(parse, "has %lld bytes, not 1 to %u", (long long)info.st_size,
			      TEXT_MOST);
	*length = gmm_file_read(fd, buffer, (size_t)info.st_size, 0, &error);
	if (error)
		return gmm_refuse(parse->text, parse->text_size, -GMM_EIO,
				  "%s/%s: cannot be read (%s): check the disk", parse->directory,
				  parse->name, gmm_errno_text(error, reason, sizeof(reason)));
	return 0;
}

static int parse_text(const struct parse *parse, const char *buffer, size_t length,
		      struct snapshot_manifest *manifest)
{
	json_error_t problem;
	json_t *root = json_loadb(buffer, length, JSON_REJECT_DUPLICATES, &problem);
	int error;

	if (!root)
		return refuse(parse, "line %d is no JSON (%s)", problem.line, problem.text);
	error = read_root(parse, root, manifest);
	json_decref(root);
	return error;
}

int gmm_snapshot_manifest_read(int directory_fd, const char *directory, const char *name,
			       struct snapshot_manifest *manifest, char *text, size_t text_size)
{
	const struct parse parse = { directory, name, text, text_size };
	int fd = openat(directory_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	char reason[128];
	size_t length = 0;
	char *buffer;
	int error;

	memset(manifest, 0, sizeof(*manifest));
	if (fd < 0 && errno == ENOENT)
		return gmm_refuse(text, text_size, -GMM_ENOENT,
				  "%s: has no %s, so no save into it was completed: give a "
				  "directory that `gmm run --save` wrote, or a memory file",
				  directory, name);
	if (fd < 0)
		return gmm_refuse(text, text_size, -GMM_EIO,
				  "%s/%s: cannot be opened (%s): make it readable, or " WAY_OUT,
				  directory, name, gmm_errno_text(errno, reason, sizeof(reason)));
	buffer = malloc(TEXT_MOST);
	if (!buffer)
		error = gmm_refuse(text, text_size, -GMM_ENOMEM, "%s/%s: out of memory: free some",
				   directory, name);
	else
		error = load_text(&parse, fd, buffer, &length);
	if (!error)
		error = parse_text(&parse, buffer, length, manifest);
	free(buffer);
	close(fd);
	return error;
}

static json_t *format_digits(uint64_t value)
{
	char digits[ID_DIGITS + 1];

	snprintf(digits, sizeof(digits), "%016" PRIx64, value);
	return json_string(digits);
}

static json_t *format_file(const struct snapshot_file *file)
{
	json_t *object = json_pack("{s:s, s:s, s:I}", "kind", kind_words[file->kind], "name",
				   file->name, "bytes", (json_int_t)file->bytes);
	int failed = !object;

	if (!failed && file->kind == SNAPSHOT_INCREMENT) {
		failed |=
			json_object_set_new(object, "pages", json_integer((json_int_t)file->pages));
		failed |=
			json_object_set_new(object, "bitmap_xxh3", format_digits(file->bitmap_sum));
	}
	if (!failed)
		failed = json_object_set_new(object, "pages_xxh3", format_digits(file->pages_sum));
	if (!failed)
		return object;
	json_decref(object);
	return NULL;
}

char *gmm_snapshot_manifest_format(const struct snapshot_manifest *manifest)
{
	json_t *chain = json_array();
	json_t *root;
	char *text = NULL;
	int failed = !chain;
	uint32_t i;

	for (i = 0; i < manifest->count && !failed; i++)
		failed = json_array_append_new(chain, format_file(&manifest->files[i]));
	if (failed) {
		json_decref(chain);
		return NULL;
	}
	root = json_pack("{s:s, s:i, s:o, s:I, s:I, s:I, s:o}", "format", FORMAT, "version",
			 VERSION, "id", format_digits(manifest->id), "time",
			 (json_int_t)manifest->time, "page_bytes",
			 (json_int_t)1 << manifest->page_shift, "page_count",
			 (json_int_t)manifest->page_count, "chain", chain);
	if (root)
		text = json_dumps(root, JSON_INDENT(2));
	json_decref(root);
	return text;
}
