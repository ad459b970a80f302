/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "symbols.h"

#include <ctype.h>
#include <dwarf.h>
#include <elfutils/libdwfl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NAME_MAX_BYTES 64u
#define LINE_BYTES 512u
#define PLACES_KEPT 4096u

static Dwfl *open_self(void)
{
	static const Dwfl_Callbacks callbacks = {
		.find_elf = dwfl_linux_proc_find_elf,
		.find_debuginfo = dwfl_standard_find_debuginfo,
	};
	static Dwfl *self;
	static bool tried;

	if (tried)
		return self;
	tried = true;
	self = dwfl_begin(&callbacks);
	if (self && (dwfl_linux_proc_report(self, getpid()) || dwfl_report_end(self, NULL, NULL))) {
		dwfl_end(self);
		self = NULL;
	}
	return self;
}

const char *symbols_file_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

const char *symbols_function(uintptr_t code)
{
	Dwfl_Module *module = open_self() ? dwfl_addrmodule(open_self(), code) : NULL;

	return module ? dwfl_module_addrname(module, code) : NULL;
}

/* A file as the compiler was told it, seen from where the compiler ran. */
static const char *absolute(Dwarf_Die *unit, const char *file)
{
	Dwarf_Attribute attribute;
	const char *from = dwarf_formstring(dwarf_attr(unit, DW_AT_comp_dir, &attribute));
	char *path;

	if (!file || *file == '/' || !from || asprintf(&path, "%s/%s", from, file) < 0)
		return file;
	return path;
}

/* The function that stands at `die`, and where it is in its caller: the place of the next. */
static void add_place(Dwarf_Die *die, Dwarf_Die *unit, struct symbols_place *places,
		      uint32_t *count, const char **file, int *line)
{
	Dwarf_Attribute attribute;
	Dwarf_Files *files;
	Dwarf_Word number;
	size_t file_count;

	places[(*count)++] = (struct symbols_place){ dwarf_diename(die), *file, *line };
	if (dwarf_tag(die) != DW_TAG_inlined_subroutine)
		return;
	if (!dwarf_formudata(dwarf_attr(die, DW_AT_call_line, &attribute), &number))
		*line = (int)number;
	if (!dwarf_getsrcfiles(unit, &files, &file_count) &&
	    !dwarf_formudata(dwarf_attr(die, DW_AT_call_file, &attribute), &number) &&
	    number < file_count)
		*file = absolute(unit, dwarf_filesrc(files, number, NULL, NULL));
}

static uint32_t look_up(uintptr_t code, struct symbols_place *places)
{
	Dwfl_Module *module = open_self() ? dwfl_addrmodule(open_self(), code) : NULL;
	Dwfl_Line *line = module ? dwfl_module_getsrc(module, code) : NULL;
	Dwarf_Die *scopes = NULL, *chain = NULL, *unit;
	const char *file;
	int number = 0, n, i;
	Dwarf_Addr bias;
	uint32_t count = 0;

	file = line ? dwfl_lineinfo(line, NULL, &number, NULL, NULL, NULL) : NULL;
	unit = module ? dwfl_module_addrdie(module, code, &bias) : NULL;
	if (!file || !unit)
		return 0;
	file = absolute(unit, file);
	n = dwarf_getscopes(unit, code - bias, &scopes);
	if (n > 0) {
		n = dwarf_getscopes_die(&scopes[0], &chain);
		for (i = 0; i < n && count < SYMBOLS_INLINED; i++)
			if (dwarf_tag(&chain[i]) == DW_TAG_inlined_subroutine ||
			    dwarf_tag(&chain[i]) == DW_TAG_subprogram)
				add_place(&chain[i], unit, places, &count, &file, &number);
	}
	free(scopes);
	free(chain);
	return count;
}

/* One address stands in many steps. */
uint32_t symbols_places(uintptr_t code, struct symbols_place *places)
{
	static struct {
		uintptr_t code;
		uint32_t count;
		struct symbols_place places[SYMBOLS_INLINED];
	} kept[PLACES_KEPT];
	uint32_t i = (uint32_t)(code * UINT64_C(0x9e3779b97f4a7c15) >> 40) % PLACES_KEPT;

	if (kept[i].code != code) {
		kept[i].code = code;
		kept[i].count = look_up(code, kept[i].places);
	}
	memcpy(places, kept[i].places, kept[i].count * sizeof(*places));
	return kept[i].count;
}

/* Types. */

static bool type_of(Dwarf_Die *die, Dwarf_Die *type)
{
	Dwarf_Attribute attribute;

	return dwarf_formref_die(dwarf_attr_integrate(die, DW_AT_type, &attribute), type) &&
	       !dwarf_peel_type(type, type);
}

static bool is_structure(Dwarf_Die *die)
{
	return dwarf_tag(die) == DW_TAG_structure_type || dwarf_tag(die) == DW_TAG_union_type;
}

/* `fallback`: what it is called when it is no structure. */
static bool keep_type(Dwarf_Die *die, const char *fallback, struct symbols_type *type)
{
	Dwarf_Word size;

	if (dwarf_aggregate_size(die, &size) || !size)
		return false;
	type->die = malloc(sizeof(*die));
	if (!type->die)
		return false;
	memcpy(type->die, die, sizeof(*die));
	type->name = is_structure(die) ? dwarf_diename(die) : strdup(fallback);
	type->size = size;
	type->structure = is_structure(die);
	return true;
}

/* Calls fn for each compiled unit until it answers true. */
static bool any_unit(bool (*fn)(Dwarf_Die *unit, void *opaque), void *opaque)
{
	Dwfl_Module *module = open_self() ? dwfl_addrmodule(open_self(), (uintptr_t)any_unit) :
					    NULL;
	Dwarf_Die *unit = NULL;
	Dwarf_Addr bias;

	while (module && (unit = dwfl_module_nextcu(module, unit, &bias)))
		if (fn(unit, opaque))
			return true;
	return false;
}

struct wanted {
	const char *name; /* of a structure, or of a variable */
	const char *file;
	int line;
	Dwarf_Die found;
};

static bool unit_has_structure(Dwarf_Die *unit, void *opaque)
{
	struct wanted *wanted = opaque;
	Dwarf_Die die;
	int more = dwarf_child(unit, &die);

	for (; !more; more = dwarf_siblingof(&die, &die)) {
		const char *name = is_structure(&die) ? dwarf_diename(&die) : NULL;

		if (name && !strcmp(name, wanted->name) &&
		    !dwarf_hasattr(&die, DW_AT_declaration)) {
			wanted->found = die;
			return true;
		}
	}
	return false;
}

bool symbols_struct(const char *name, struct symbols_type *type)
{
	struct wanted wanted = { .name = name };

	return any_unit(unit_has_structure, &wanted) && keep_type(&wanted.found, name, type);
}

/* A variable or parameter of that name in a function, its blocks included. */
static bool has_variable(Dwarf_Die *scope, struct wanted *wanted)
{
	Dwarf_Die die;
	int more = dwarf_child(scope, &die);

	for (; !more; more = dwarf_siblingof(&die, &die)) {
		int tag = dwarf_tag(&die);
		const char *name = dwarf_diename(&die);

		if ((tag == DW_TAG_variable || tag == DW_TAG_formal_parameter) && name &&
		    !strcmp(name, wanted->name)) {
			wanted->found = die;
			return true;
		}
		if (tag == DW_TAG_lexical_block && has_variable(&die, wanted))
			return true;
	}
	return false;
}

/* In the function of the file that begins last before the line. */
static bool unit_has_variable(Dwarf_Die *unit, void *opaque)
{
	struct wanted *wanted = opaque;
	Dwarf_Die die, best = *unit;
	int best_line = 0, line, more = dwarf_child(unit, &die);

	for (; !more; more = dwarf_siblingof(&die, &die)) {
		const char *file = dwarf_tag(&die) == DW_TAG_subprogram ? dwarf_decl_file(&die) :
									  NULL;

		if (!file || strcmp(symbols_file_name(file), symbols_file_name(wanted->file)) ||
		    dwarf_decl_line(&die, &line) || line > wanted->line || line < best_line)
			continue;
		best = die;
		best_line = line;
	}
	return best_line && has_variable(&best, wanted);
}

/* The next name of an expression; what is left behind it. */
static const char *read_name(const char *text, char *name)
{
	size_t length = 0;

	while (isalnum((unsigned char)text[length]) || text[length] == '_')
		length++;
	if (!length || length >= NAME_MAX_BYTES)
		return NULL;
	memcpy(name, text, length);
	name[length] = 0;
	return text + length;
}

/* The type of the member of that name. */
static bool member_type(Dwarf_Die *structure, const char *name, Dwarf_Die *type)
{
	Dwarf_Die die;
	int more = dwarf_child(structure, &die);

	for (; !more; more = dwarf_siblingof(&die, &die)) {
		const char *found = dwarf_diename(&die);

		if (dwarf_tag(&die) == DW_TAG_member && found && !strcmp(found, name))
			return type_of(&die, type);
	}
	return false;
}

/* What *name, *name->member, *name.member->member... is; the last name in `name`. */
static bool type_pointed_to(const char *file, int line, const char *text, char *name,
			    Dwarf_Die *type)
{
	struct wanted wanted = { .name = name, .file = file, .line = line };

	text = read_name(text, name);
	if (!text || !any_unit(unit_has_variable, &wanted) || !type_of(&wanted.found, type))
		return false;
	while (*text == '-' || *text == '.') {
		bool arrow = *text == '-';

		text = read_name(text + (arrow ? 2 : 1), name);
		if (!text || (arrow && !type_of(type, type)) || !member_type(type, name, type))
			return false;
	}
	return dwarf_tag(type) == DW_TAG_pointer_type && type_of(type, type);
}

/* The expression before the `=` of a line: `stage2->root`. */
static const char *assigned(char *line)
{
	char *end = strchr(line, '='), *start;

	if (!end)
		return NULL;
	while (end > line && isspace((unsigned char)end[-1]))
		end--;
	*end = 0;
	for (start = end;
	     start > line && (isalnum((unsigned char)start[-1]) || strchr("_->.", start[-1]));)
		start--;
	return start;
}

static bool find_file(Dwarf_Die *unit, void *opaque)
{
	const char **file = opaque;

	*file = absolute(unit, *file);
	return true;
}

/* What is allocated for a variable of another type than the size tells. */
static bool type_assigned(const char *file, int line, struct symbols_type *type)
{
	char text[LINE_BYTES], name[NAME_MAX_BYTES];
	const char *source, *to;
	Dwarf_Die die;

	/* All units were compiled in one directory. */
	(void)any_unit(find_file, &file);
	source = symbols_source(file, line);
	if (!source)
		return false;
	snprintf(text, sizeof(text), "%s", source);
	to = assigned(text);
	return to && type_pointed_to(file, line, to, name, &die) && keep_type(&die, name, type);
}

bool symbols_sizeof(const char *file, int line, const char *expression, struct symbols_type *type)
{
	const char *inner = strstr(expression, "sizeof(");
	char name[NAME_MAX_BYTES];
	Dwarf_Die die;

	if (inner && !strncmp(inner, "sizeof(struct ", 14))
		return read_name(inner + 14, name) && symbols_struct(name, type);
	if (inner && inner[7] == '*')
		return type_pointed_to(file, line, inner + 8, name, &die) &&
		       keep_type(&die, name, type);
	return type_assigned(file, line, type);
}

/* The member of a structure in which an offset lies, and the offset in it. */
static bool member_at(Dwarf_Die *structure, uint64_t *offset, Dwarf_Die *member, Dwarf_Die *type)
{
	Dwarf_Attribute attribute;
	Dwarf_Word at, size;
	int more = dwarf_child(structure, member);

	for (; !more; more = dwarf_siblingof(member, member)) {
		if (dwarf_tag(member) != DW_TAG_member || !type_of(member, type))
			continue;
		/* An array without an end lies at the end. */
		if (dwarf_aggregate_size(type, &size))
			size = UINT32_MAX;
		at = 0;
		(void)dwarf_formudata(dwarf_attr(member, DW_AT_data_member_location, &attribute),
				      &at);
		if (*offset < at || *offset >= at + size)
			continue;
		*offset -= at;
		return true;
	}
	return false;
}

void symbols_member(const struct symbols_type *of, uint64_t offset, uint32_t size, char *text,
		    size_t text_size)
{
	Dwarf_Die type = *(Dwarf_Die *)of->die, member;
	size_t used = 0;

	text[0] = 0;
	while (used < text_size) {
		Dwarf_Word whole;

		if (!offset && !dwarf_aggregate_size(&type, &whole) && size >= whole)
			return;
		if (is_structure(&type) && member_at(&type, &offset, &member, &type)) {
			const char *name = dwarf_diename(&member);

			if (name)
				used += (size_t)snprintf(text + used, text_size - used, ".%s",
							 name);
		} else if (dwarf_tag(&type) == DW_TAG_array_type && type_of(&type, &type) &&
			   !dwarf_aggregate_size(&type, &whole) && whole) {
			used += (size_t)snprintf(text + used, text_size - used, "[%llu]",
						 (unsigned long long)(offset / whole));
			offset %= whole;
		} else {
			break;
		}
	}
	if (offset && used < text_size)
		snprintf(text + used, text_size - used, "+%llu", (unsigned long long)offset);
}

const char *symbols_source(const char *file, int line)
{
	static char text[LINE_BYTES];
	FILE *source = fopen(file, "r");
	char *start = NULL, *end;

	while (source && line > 0 && (start = fgets(text, sizeof(text), source)))
		line--;
	if (source)
		fclose(source);
	if (!source || !start || line)
		return NULL;
	while (isspace((unsigned char)*start))
		start++;
	for (end = start + strlen(start); end > start && isspace((unsigned char)end[-1]); end--)
		;
	*end = 0;
	return start;
}
