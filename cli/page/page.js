/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* What all parts of the page use, and the parts made of text. All text goes in as text, never as HTML. */
'use strict';

window.onerror = function (message, source, line) {
	document.title = 'script error: ' + message + ' (line ' + line + ')';
	document.documentElement.dataset.error = message;
};

const data = JSON.parse(document.getElementById('data').textContent);

const byId = (id) => document.getElementById(id);

/* An element with attributes and children; a child that is no element is text. */
function make(name, attributes, ...children) {
	const element = document.createElement(name);

	for (const key in attributes || {})
		element.setAttribute(key, attributes[key]);
	element.append(...children);
	return element;
}

function makeSvg(name, attributes, ...children) {
	const element = document.createElementNS('http://www.w3.org/2000/svg', name);

	for (const key in attributes || {})
		element.setAttribute(key, attributes[key]);
	element.append(...children);
	return element;
}

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue('--' + name).trim();

/* Numbers as people read them. */
function trimmed(value) {
	return value >= 100 ? value.toFixed(0) : value >= 10 ? String(+value.toFixed(1)) : String(+value.toFixed(2));
}

function bytesText(bytes) {
	if (!bytes)
		return '0';
	const units = ['B', 'K', 'M', 'G', 'T'];
	let unit = 0;

	for (; bytes >= 1024 && unit < 4; unit++)
		bytes /= 1024;
	return trimmed(bytes) + units[unit];
}

function countText(count) {
	if (count >= 1e9)
		return trimmed(count / 1e9) + ' G';
	if (count >= 1e6)
		return trimmed(count / 1e6) + ' M';
	return count >= 1e4 ? trimmed(count / 1e3) + ' k' : trimmed(count);
}

function timeText(nanoseconds) {
	if (nanoseconds >= 3600e9)
		return trimmed(nanoseconds / 3600e9) + ' h';
	if (nanoseconds >= 120e9)
		return trimmed(nanoseconds / 60e9) + ' min';
	if (nanoseconds >= 1e9)
		return trimmed(nanoseconds / 1e9) + ' s';
	if (nanoseconds >= 1e6)
		return trimmed(nanoseconds / 1e6) + ' ms';
	return nanoseconds >= 1e3 ? trimmed(nanoseconds / 1e3) + ' us' : trimmed(nanoseconds) + ' ns';
}

/* Along an axis up to `total`: all in one unit. */
function axisTime(nanoseconds, total) {
	const units = [[3600e9, ' h'], [60e9, ' min'], [1e9, ' s'], [1e6, ' ms'], [1e3, ' us'], [1, ' ns']];
	const [size, unit] = units.find(([one]) => total >= 2 * one) || units[units.length - 1];

	return nanoseconds ? String(+(nanoseconds / size).toPrecision(6)) + unit : '0';
}

/* Round values of an axis of time, in ns: multiples of the unit that axisTime() chooses. */
function timeTicks(total, wanted) {
	const unit = total >= 7200e9 ? 3600e9 : total >= 120e9 ? 60e9 : 1e9;

	return ticks(total / unit, wanted, false).map((time) => time * unit);
}

/* Round values from 0 to `most`, about `wanted` of them; multiples of `base` times a power. */
function ticks(most, wanted, binary) {
	const steps = binary ? [1, 2, 4, 8, 16, 32, 64, 128, 256, 512] : [1, 2, 5];
	const power = binary ? 1024 : 10;
	let unit = 1, found = [];

	if (!(most > 0))
		return [0];
	while (unit * power <= most / wanted)
		unit *= power;
	while (!binary && unit > most / wanted)
		unit /= power;
	const step = steps.map((factor) => factor * unit).find((size) => most / size <= wanted) || power * unit;
	for (let i = 0; i * step <= most * 1.0001; i++)
		found.push(i * step);
	return found;
}

/* The box beside the pointer. */
const tip = byId('tip');

function showTip(event, text) {
	tip.textContent = text;
	tip.style.display = 'block';
	const box = tip.getBoundingClientRect();
	const left = event.clientX + 16 + box.width > innerWidth ? event.clientX - box.width - 12 : event.clientX + 16;
	tip.style.left = Math.max(4, left) + 'px';
	tip.style.top = Math.max(4, Math.min(event.clientY + 14, innerHeight - box.height - 6)) + 'px';
}

function hideTip() {
	tip.style.display = 'none';
}

function showVerdict() {
	const box = byId('verdict'), list = box.querySelector('ul');

	box.querySelector('strong').textContent = data.verdict;
	box.dataset.losses = data.results.losses;
	if (data.results.status === 0)
		return;
	box.classList.add('bad');
	list.hidden = !data.losses.length;
	for (const loss of data.losses)
		list.append(make('li', {}, 'at ' + timeText(loss.at) + ': ' + loss.text));
	const more = data.results.losses - data.losses.length;
	if (more > 0)
		list.append(make('li', {}, 'and ' + more + ' more'));
}

function showOptions() {
	for (const [name, value] of data.options)
		byId('options').append(make('div', {}, make('dt', {}, name), make('dd', {}, value)));
	byId('command').textContent = data.command.join(' ');
}

function showTables() {
	const faults = make('tbody', {});

	for (const row of data.faults)
		faults.append(make('tr', {}, make('th', { scope: 'row' }, row.label),
			...row.values.map((value) => make('td', { 'data-key': 'faults.' + row.name + '.' + value.name,
				'data-value': value.value }, value.text))));
	byId('tables').append(make('div', {}, make('h3', {}, 'faults'), make('table', {},
		make('thead', {}, make('tr', {}, make('th', {}, ''), ...['served', 'held', 'failed', 'p50', 'p99']
			.map((name) => make('th', { scope: 'col' }, name)))), faults)));
	let group = null, body = null;
	for (const row of data.rows) {
		if (row.group !== group) {
			group = row.group;
			body = make('tbody', {});
			byId('tables').append(make('div', {}, make('h3', {}, group), make('table', {}, body)));
		}
		body.append(make('tr', {}, make('th', { scope: 'row' }, row.label),
			make('td', { 'data-key': group + '.' + row.name, 'data-value': row.value }, row.text)));
	}
}

function showLog() {
	byId('log').hidden = !data.log.length;
	for (const line of data.log)
		byId('log').querySelector('ul').append(
			make('li', {}, 'at ' + timeText(line.at) + ', ' + line.level + ': ' + line.text));
}
