/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "print.h"

#include "machine.h"

struct output {
	char *text;
	size_t size;
	size_t length;
};

struct field {
	uint32_t width;
	bool left;
	bool zeros;
};

static void put(struct output *output, char letter)
{
	if (output->length + 1 < output->size)
		output->text[output->length] = letter;
	output->length++;
}

static void put_field(struct output *output, const struct field *field, const char *sign,
		      const char *body, size_t length)
{
	size_t whole = length + (*sign != 0);
	size_t fill = field->width > whole ? field->width - whole : 0;
	size_t i;

	for (i = 0; !field->left && !field->zeros && i < fill; i++)
		put(output, ' ');
	if (*sign)
		put(output, *sign);
	for (i = 0; !field->left && field->zeros && i < fill; i++)
		put(output, '0');
	for (i = 0; i < length; i++)
		put(output, body[i]);
	for (i = 0; field->left && i < fill; i++)
		put(output, ' ');
}

static void put_number(struct output *output, const struct field *field, const char *sign,
		       uint64_t value, uint32_t base)
{
	char digits[24];
	size_t at = sizeof(digits);

	do {
		digits[--at] = "0123456789abcdef"[value % base];
		value /= base;
	} while (value);
	put_field(output, field, sign, digits + at, sizeof(digits) - at);
}

static void put_text(struct output *output, const struct field *field, const char *text)
{
	size_t length = 0;

	while (text[length])
		length++;
	put_field(output, field, "", text, length);
}

static const char *read_field(const char *format, struct field *field)
{
	*field = (struct field){ 0 };
	for (;; format++) {
		if (*format == '-')
			field->left = true;
		else if (*format == '0')
			field->zeros = true;
		else
			break;
	}
	for (; *format >= '0' && *format <= '9'; format++)
		field->width = field->width * 10 + (uint32_t)(*format - '0');
	return format;
}

int bare_format(char *text, size_t size, const char *format, __builtin_va_list arguments)
{
	struct output output = { text, size, 0 };
	struct field field;
	char letter;

	for (; *format; format++) {
		bool wide = false;
		int64_t number;

		if (*format != '%') {
			put(&output, *format);
			continue;
		}
		format = read_field(format + 1, &field);
		for (; *format == 'l' || *format == 'z'; format++)
			wide = true;
		switch (*format) {
		case 'd':
		case 'i':
			number = wide ? __builtin_va_arg(arguments, int64_t) :
					__builtin_va_arg(arguments, int);
			put_number(&output, &field, number < 0 ? "-" : "",
				   number < 0 ? -(uint64_t)number : (uint64_t)number, 10);
			break;
		case 'u':
		case 'x':
			put_number(&output, &field, "",
				   wide ? __builtin_va_arg(arguments, uint64_t) :
					  __builtin_va_arg(arguments, unsigned int),
				   *format == 'u' ? 10 : 16);
			break;
		case 'p':
			put_number(&output, &field, "",
				   (uintptr_t) __builtin_va_arg(arguments, void *), 16);
			break;
		case 's':
			put_text(&output, &field, __builtin_va_arg(arguments, const char *));
			break;
		case 'c':
			letter = (char)__builtin_va_arg(arguments, int);
			put_field(&output, &field, "", &letter, 1);
			break;
		default:
			put(&output, *format);
		}
		if (!*format)
			break;
	}
	if (size)
		text[output.length < size ? output.length : size - 1] = 0;
	return (int)output.length;
}

void bare_print(const char *format, ...)
{
	char text[512];
	__builtin_va_list arguments;

	__builtin_va_start(arguments, format);
	bare_format(text, sizeof(text), format, arguments);
	__builtin_va_end(arguments);
	bare_put(text);
}
