/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* A manifest that is damaged, in every field: one line that names it and the way out. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

#include "snapshot_test.h"

#define MOST_FIELDS 8

static json_t *load(const struct scratch *scratch)
{
	char *path = path_of(scratch, SNAPSHOT_MANIFEST);
	json_t *root = json_load_file(path, 0, NULL);

	assert_non_null(root);
	free(path);
	return root;
}

static void store_text(const struct scratch *scratch, const char *text, size_t length)
{
	char *path = path_of(scratch, SNAPSHOT_MANIFEST);

	file_make(path, text, length);
	free(path);
}

/* Takes the reference. */
static void store(const struct scratch *scratch, json_t *root)
{
	char *text = json_dumps(root, JSON_INDENT(2));

	store_text(scratch, text, strlen(text));
	free(text);
	json_decref(root);
}

/* place -1: the root, else chain[place]. */
static json_t *object_of(json_t *root, int place)
{
	return place < 0 ? root : json_array_get(json_object_get(root, "chain"), (size_t)place);
}

/* Sets one field, or deletes it (NULL); then a line names it, and `what`. */
static void refused_with(struct scratch *scratch, json_t *whole, int place, const char *field,
			 json_t *value, const char *what)
{
	json_t *root = json_deep_copy(whole);

	if (value)
		json_object_set_new(object_of(root, place), field, value);
	else
		json_object_del(object_of(root, place), field);
	store(scratch, root);
	assert_refused(scratch, 0, -GMM_EINVAL, field, what);
}

static void each_field_is_needed_with_its_type(void **state)
{
	struct scratch *scratch = *state;
	struct model model = { 0 };
	json_t *whole, *value;
	const char *field;
	uint32_t fields = 0;
	char name[40];
	int place;

	save_three(scratch, &model);
	whole = load(scratch);
	for (place = -1; place < 3; place++) {
		json_object_foreach(object_of(whole, place), field, value)
		{
			refused_with(scratch, whole, place, field, NULL, "is missing");
			refused_with(scratch, whole, place, field, json_null(), "is no");
			refused_with(scratch, whole, place, field, json_object(), "is no");
			refused_with(scratch, whole, place, field, json_real(4096.0), "is no");
			if (json_is_string(value))
				refused_with(scratch, whole, place, field, json_string(""), "");
			if (json_is_integer(value))
				refused_with(scratch, whole, place, field, json_integer(-1),
					     "is -1");
			fields++;
		}
		snprintf(name, sizeof(name), "extra\n%d", place);
		json_object_set_new(object_of(whole, place), name, json_true());
		store(scratch, json_deep_copy(whole));
		assert_refused(scratch, 0, -GMM_EINVAL, "extra?", "is an unknown field");
		json_object_del(object_of(whole, place), name);
	}
	assert_int_equal(fields, 7 + 4 + 6 + 6);
	store(scratch, whole);
	assert_snapshot_is(scratch, &model);
}

static void versions_and_sizes(void **state)
{
	struct scratch *scratch = *state;
	struct model model = { 0 };
	json_t *whole, *root;

	save_three(scratch, &model);
	whole = load(scratch);
	refused_with(scratch, whole, -1, "version", json_integer(0),
		     "is 0, and only version 1 is known here: use the gmm that wrote it");
	refused_with(scratch, whole, -1, "version", json_integer(2),
		     "is 2, and only version 1 is known here: use the gmm that wrote it");
	refused_with(scratch, whole, -1, "format", json_string("another"), "is not \"guestmm");
	refused_with(scratch, whole, -1, "page_bytes", json_integer(2048), "not within 4096 to");
	refused_with(scratch, whole, -1, "page_bytes", json_integer(131072), "not within 4096 to");
	refused_with(scratch, whole, -1, "page_bytes", json_integer(5000), "no power of two");
	refused_with(scratch, whole, -1, "page_count", json_integer(0), "not within 1 to");
	refused_with(scratch, whole, -1, "page_count", json_integer(INT64_MAX), "not within 1 to");
	/* The base has another size then. */
	root = json_deep_copy(whole);
	json_object_set_new(root, "page_count", json_integer(PAGES + 1));
	store(scratch, root);
	assert_refused(scratch, 0, -GMM_EINVAL, "chain[0].bytes", "is 819200, and must be 823296");
	root = json_deep_copy(whole);
	json_object_set_new(root, "page_bytes", json_integer(8192));
	store(scratch, root);
	assert_refused(scratch, 0, -GMM_EINVAL, "chain[0].bytes", "is 819200, and must be 1638400");
	refused_with(scratch, whole, -1, "id", json_string("0123456789abcdeF"), "16 digits");
	refused_with(scratch, whole, -1, "id", json_string("0123456789abcdef0"), "16 digits");
	json_decref(whole);
}

static void files_of_the_chain(void **state)
{
	struct scratch *scratch = *state;
	struct model model = { 0 };
	json_t *whole, *root;
	const char *name;
	int i;

	save_three(scratch, &model);
	whole = load(scratch);
	name = json_string_value(json_object_get(object_of(whole, 1), "name"));
	refused_with(scratch, whole, -1, "chain", json_array(), "has 0 files, not 1 to 64");
	refused_with(scratch, whole, 0, "kind", json_string("increment"), "is not \"base\"");
	refused_with(scratch, whole, 1, "kind", json_string("base"), "is not \"increment\"");
	refused_with(scratch, whole, 2, "kind", json_string("packed"), "is not \"increment\"");
	refused_with(scratch, whole, 0, "name", json_string("../ram"), "no name of such a file");
	refused_with(scratch, whole, 0, "name", json_string("base-0123456789abcdef.raw/"),
		     "no name");
	refused_with(scratch, whole, 0, "name", json_string("base-0123456789abcdeg.raw"),
		     "no name");
	refused_with(scratch, whole, 0, "name", json_string(name), "no name of such a file");
	refused_with(scratch, whole, 2, "name", json_string(name), "is that of chain[1], too");
	refused_with(scratch, whole, 1, "name", json_string("increment-0123456789abcdef.pages"),
		     "is missing, though the manifest names it");
	refused_with(scratch, whole, 0, "bytes", json_integer(PAGES * PAGE_BYTES - 1),
		     "and must be 819200");
	refused_with(scratch, whole, 1, "pages", json_integer(PAGES + 1), "not within 0 to 200");
	/* The size that follows from it is another then. */
	root = json_deep_copy(whole);
	json_object_set_new(object_of(root, 1), "pages", json_integer(1));
	store(scratch, root);
	assert_refused(scratch, 0, -GMM_EINVAL, "chain[1].bytes", "is 278528, and must be 8192");
	refused_with(scratch, whole, 1, "bitmap_xxh3", json_string("0123456789abcdef"),
		     "bitmap is not");
	root = json_deep_copy(whole);
	json_array_set_new(json_object_get(root, "chain"), 1, json_integer(1));
	store(scratch, root);
	assert_refused(scratch, 0, -GMM_EINVAL, "chain[1]", "is no object");
	root = json_deep_copy(whole);
	for (i = 3; i < 65; i++)
		json_array_append(json_object_get(root, "chain"), object_of(root, 1));
	store(scratch, root);
	assert_refused(scratch, 0, -GMM_EINVAL, "chain", "has 65 files, not 1 to 64");
	/* Pages and size agree with each other, and not with the bitmap or the file. */
	root = json_deep_copy(whole);
	json_object_set_new(object_of(root, 1), "pages", json_integer(1));
	json_object_set_new(object_of(root, 1), "bytes", json_integer(2 * PAGE_BYTES));
	store(scratch, root);
	assert_refused(scratch, 0, -GMM_EINVAL, "increment-", "and the manifest says 8192");
	/* Sums of pages are compared when that is asked for. */
	for (i = 0; i < 3; i++) {
		root = json_deep_copy(whole);
		json_object_set_new(object_of(root, i), "pages_xxh3",
				    json_string("0123456789abcdef"));
		store(scratch, root);
		assert_refused(scratch, GMM_SNAPSHOT_VERIFY, -GMM_EINVAL, "pages_xxh3",
			       "its pages are not what");
	}
	json_decref(whole);
}

static void no_json(void **state)
{
	struct scratch *scratch = *state;
	char *path = path_of(scratch, SNAPSHOT_MANIFEST), *big = calloc(1, 70000);
	struct model model = { 0 };

	assert_refused(scratch, 0, -GMM_ENOENT, scratch->path, "No such file");
	assert_int_equal(mkdir(scratch->path, 0700), 0);
	assert_refused(scratch, 0, -GMM_ENOENT, scratch->path, "has no manifest.json");
	save_three(scratch, &model);
	store_text(scratch, "", 0);
	assert_refused(scratch, 0, -GMM_EINVAL, path, "has 0 bytes");
	store_text(scratch, big, 70000);
	assert_refused(scratch, 0, -GMM_EINVAL, path, "has 70000 bytes, not 1 to 65536");
	store_text(scratch, "[]", 2);
	assert_refused(scratch, 0, -GMM_EINVAL, path, "is no object");
	store_text(scratch, "{\"version\": 1, \"version\": 1}", 28);
	assert_refused(scratch, 0, -GMM_EINVAL, path, "line 1 is no JSON");
	store_text(scratch, "{\n\"\001\n", 5);
	assert_refused(scratch, 0, -GMM_EINVAL, path, "line 2 is no JSON");
	memset(big, '[', 60000);
	store_text(scratch, big, 60000);
	assert_refused(scratch, 0, -GMM_EINVAL, path, "is no JSON");
	unlink(path);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_refused(scratch, 0, -GMM_EINVAL, path, "is no regular file");
	rmdir(path);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_refused(scratch, 0, -GMM_EINVAL, path, "is no regular file");
	unlink(path);
	assert_int_equal(symlink("/etc/passwd", path), 0);
	assert_refused(scratch, 0, -GMM_EIO, path, "cannot be opened");
	free(path);
	free(big);
}

/* Wherever it is cut off, and whichever of its bytes is another: refused, or the same memory. */
static void cut_off_or_flipped_anywhere(void **state)
{
	struct scratch *scratch = *state;
	char *path = path_of(scratch, SNAPSHOT_MANIFEST), *text, *damaged;
	char line[GMM_BACKING_TEXT_SIZE];
	struct model model = { 0 };
	struct gmm_source source;
	size_t length, i;
	uint32_t bit, refused = 0;

	save_three(scratch, &model);
	text = file_load(path, &length);
	for (i = 0; i < length; i++) {
		file_make(path, text, i);
		assert_refused(scratch, 0, -GMM_EINVAL, path, "");
	}
	damaged = malloc(length);
	for (i = 0; i < length; i++) {
		for (bit = 0; bit < 8; bit++) {
			memcpy(damaged, text, length);
			damaged[i] = (char)(damaged[i] ^ 1 << bit);
			file_make(path, damaged, length);
			line[0] = '\0';
			if (gmm_source_open_snapshot(&source, scratch->path, PAGE_SHIFT,
						     GMM_SNAPSHOT_VERIFY, line, sizeof(line))) {
				assert_helpful(line, scratch->path, "");
				refused++;
				continue;
			}
			assert_true(source_is(&source, &model));
			gmm_source_close(&source);
		}
	}
	/* The time and the id may be others, and blanks other blanks. */
	assert_in_range(refused, length * 6, length * 8);
	free(text);
	free(damaged);
	free(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(each_field_is_needed_with_its_type),
		CASE(versions_and_sizes),
		CASE(files_of_the_chain),
		CASE(no_json),
		CASE(cut_off_or_flipped_anywhere),
	};

	return cmocka_run_group_tests_name("manifests", tests, NULL, NULL);
}
