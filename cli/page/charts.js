/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Curves over time, the time line of events, and percentiles of latency, in SVG. */

const CHART = { width: 580, height: 190, left: 58, right: 12, top: 10, bottom: 26 };
const curveColours = ['var(--one)', 'var(--two)', 'var(--three)'];

const series = Object.fromEntries(data.history.series.map((one) => [one.name, one]));
const totalTime = data.history.columns * data.history.width_ns;

/* Columns that were looked at. */
const sampled = data.history.samples.map((samples, column) => samples ? column : -1).filter((column) => column >= 0);

function level(name, scale) {
	return sampled.map((column) => [data.history.at[column], series[name].values[column] * scale]);
}

/* How fast a counter grew, per second, from each column to the next. */
function rate(name) {
	const points = [];
	let before = { at: 0, value: 0 };

	for (const column of sampled) {
		const now = { at: data.history.at[column], value: series[name].values[column] };

		if (now.at > before.at)
			points.push([(now.at + before.at) / 2, (now.value - before.value) * 1e9 / (now.at - before.at)]);
		before = now;
	}
	return points;
}

function pathOf(points, x, y) {
	return points.map(([px, py], i) => (i ? 'L' : 'M') + x(px).toFixed(1) + ' ' + y(py).toFixed(1)).join('');
}

function frame(width, height, label) {
	return makeSvg('svg', { viewBox: '0 0 ' + width + ' ' + height, role: 'img', 'aria-label': label });
}

function timeAxis(svg, x, bottom, width) {
	for (const time of timeTicks(totalTime, width > 800 ? 10 : 5)) {
		const at = x(time);

		svg.append(makeSvg('line', { class: 'axis', x1: at, x2: at, y1: bottom, y2: bottom + 4 }),
			makeSvg('text', { x: at, y: bottom + 17, 'text-anchor': 'middle' }, axisTime(time, totalTime)));
	}
}

function nearest(points, at) {
	return points.reduce((best, point) => Math.abs(point[0] - at) < Math.abs(best[0] - at) ? point : best, points[0]);
}

/* curves: [{ label, points }]; options: id, title, text (of a value), binary, limit. */
function timeChart(curves, options) {
	const { width, height, left, right, top, bottom } = CHART;
	const most = Math.max(1e-9, options.limit || 0, ...curves.flatMap((curve) => curve.points.map((point) => point[1]))) * 1.06;
	const x = (time) => left + (width - left - right) * time / totalTime;
	const y = (value) => height - bottom - (height - top - bottom) * value / most;
	const svg = frame(width, height, options.title);
	const legend = make('span', { class: 'legend' });

	for (const value of ticks(most, 4, options.binary))
		svg.append(makeSvg('line', { class: 'grid', x1: left, x2: width - right, y1: y(value), y2: y(value) }),
			makeSvg('text', { x: left - 6, y: y(value) + 4, 'text-anchor': 'end' }, options.text(value)));
	timeAxis(svg, x, height - bottom, width);
	if (options.limit) {
		svg.append(makeSvg('line', { class: 'limit', x1: left, x2: width - right, y1: y(options.limit), y2: y(options.limit) }));
	}
	curves.forEach((curve, i) => {
		svg.append(makeSvg('path', { class: 'curve', stroke: curveColours[i], d: pathOf(curve.points, x, y) }));
		legend.append(make('span', {}, make('i', { style: 'background: ' + curveColours[i] }), curve.label));
	});
	if (options.limit)
		legend.append(make('span', {}, make('i', { style: 'background: var(--bad)' }), 'limit ' + options.text(options.limit)));
	const rule = makeSvg('line', { class: 'rule', y1: top, y2: height - bottom, visibility: 'hidden' });
	svg.append(rule);
	svg.addEventListener('mousemove', (event) => {
		const box = svg.getBoundingClientRect();
		const at = ((event.clientX - box.left) / box.width * width - left) / (width - left - right) * totalTime;

		if (at < 0 || at > totalTime || !curves[0].points.length)
			return;
		rule.setAttribute('x1', x(at));
		rule.setAttribute('x2', x(at));
		rule.setAttribute('visibility', 'visible');
		showTip(event, ['at ' + timeText(at)].concat(curves.map((curve) =>
			curve.label + ': ' + options.text(nearest(curve.points, at)[1]))).join('\n'));
	});
	svg.addEventListener('mouseleave', () => {
		rule.setAttribute('visibility', 'hidden');
		hideTip();
	});
	byId('charts').append(make('div', { id: options.id, class: 'chart' },
		make('div', { class: 'bar' }, make('h3', {}, options.title), legend), svg));
}

function showCharts() {
	const perSecond = (value) => countText(value);

	if (!totalTime)
		return;
	byId('over-time').hidden = false;
	timeChart([{ label: 'resident', points: level('resident', data.page_bytes) }],
		{ id: 'chart-resident', title: 'Resident memory', text: bytesText, binary: true, limit: data.results.resident_limit_bytes });
	timeChart(['missing', 'minor', 'write_protect'].map((name) => ({ label: series[name].label, points: rate(name) })),
		{ id: 'chart-faults', title: 'Faults served per second', text: perSecond });
	timeChart([{ label: 'evicted', points: rate('evicted') }],
		{ id: 'chart-evictions', title: 'Pages evicted per second', text: perSecond });
	timeChart([{ label: 'harvested', points: rate('harvested') }],
		{ id: 'chart-harvested', title: 'Pages harvested per second', text: perSecond });
}

/* One lane: a bar where a counter grew, the darker the more it did. */
function lane(svg, one, top, height, left, x) {
	const grown = [];
	let before = 0, beforeAt = 0;

	for (const column of sampled) {
		grown.push([beforeAt, data.history.at[column], one.values[column] - before]);
		before = one.values[column];
		beforeAt = data.history.at[column];
	}
	const density = ([from, to, count]) => count / Math.max(1, to - from);
	const most = Math.max(...grown.map(density), 1e-12);
	const bad = one.name === 'losses';

	svg.append(makeSvg('line', { class: 'grid', x1: left, x2: x(totalTime), y1: top + height, y2: top + height }),
		makeSvg('text', { x: left - 8, y: top + height - 4, 'text-anchor': 'end' }, one.label),
		makeSvg('text', { x: x(totalTime) + 8, y: top + height - 4, 'data-lane': one.name }, countText(before)));
	for (const bar of grown) {
		const [from, to, count] = bar;

		if (count > 0)
			svg.append(makeSvg('rect', { x: x(from), y: top + 2, width: Math.max(1.5, x(to) - x(from)), height: height - 4,
				fill: bad ? 'var(--bad)' : 'var(--one)', opacity: 0.25 + 0.75 * Math.sqrt(density(bar) / most) },
				makeSvg('title', {}, one.label + ': ' + count + ' from ' + timeText(from) + ' to ' + timeText(to))));
	}
}

function showTimeline() {
	const lanes = data.history.series.filter((one) => one.kind === 'event');
	const width = 1180, left = 110, right = 60, height = 20, top = 18;
	const bottom = top + lanes.length * height;
	const x = (time) => left + (width - left - right) * time / totalTime;

	if (!totalTime)
		return;
	byId('events').hidden = false;
	const svg = frame(width, bottom + 26, 'Events by time');
	lanes.forEach((one, i) => lane(svg, one, top + i * height, height, left, x));
	for (const mark of data.marks) {
		const at = Math.min(x(mark.at), width - right);

		svg.append(makeSvg('line', { class: mark.kind === 'loss' ? 'limit' : 'rule', x1: at, x2: at, y1: top - 4, y2: bottom },
			makeSvg('title', {}, timeText(mark.at) + ': ' + mark.text)));
		if (mark.kind === 'phase')
			svg.append(makeSvg('text', { x: at, y: top - 8, 'text-anchor': 'end' }, mark.text));
		else
			svg.append(makeSvg('circle', { cx: at, cy: top - 6, r: 4, fill: mark.kind === 'loss' ? 'var(--bad)' : 'var(--two)' },
				makeSvg('title', {}, timeText(mark.at) + ': ' + mark.text)));
	}
	timeAxis(svg, x, bottom, width);
	byId('timeline').append(svg);
}

/* From a histogram: the time that is not exceeded by each share of the faults. */
function percentileCurve(buckets) {
	const total = buckets.reduce((sum, bucket) => sum + bucket[1], 0), points = [];
	let seen = 0;

	for (const [time, count] of buckets) {
		points.push([seen / total, time]);
		seen += count;
		points.push([Math.min(seen / total, 1 - 0.5 / total), time]);
	}
	return { total, points };
}

function showLatency() {
	const curves = data.latency.map((kind, i) => ({ ...percentileCurve(kind.buckets), label: kind.label, colour: curveColours[i] }))
		.filter((curve) => curve.total);
	const width = 1180, height = 280, left = 64, right = 20, top = 12, bottom = 28;

	if (!curves.length) {
		byId('latency').hidden = true;
		return;
	}
	const nines = (share) => -Math.log10(1 - share);
	const widest = Math.max(...curves.map((curve) => nines(curve.points[curve.points.length - 1][0])), 2);
	const times = curves.flatMap((curve) => curve.points.map((point) => point[1]));
	const low = Math.floor(Math.log10(Math.max(1, Math.min(...times)))), high = Math.max(low + 1, Math.ceil(Math.log10(Math.max(...times))));
	const x = (share) => left + (width - left - right) * nines(share) / widest;
	const y = (time) => height - bottom - (height - top - bottom) * (Math.log10(Math.max(1, time)) - low) / (high - low);
	const svg = frame(width, height, 'Time to serve a fault by percentile');
	const legend = make('div', { class: 'legend' });

	for (let power = low; power <= high; power++)
		svg.append(makeSvg('line', { class: 'grid', x1: left, x2: width - right, y1: y(10 ** power), y2: y(10 ** power) }),
			makeSvg('text', { x: left - 7, y: y(10 ** power) + 4, 'text-anchor': 'end' }, timeText(10 ** power)));
	for (const share of [0, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999, 0.999999].filter((one) => nines(one) <= widest))
		svg.append(makeSvg('line', { class: 'grid', x1: x(share), x2: x(share), y1: top, y2: height - bottom }),
			makeSvg('text', { x: x(share), y: height - bottom + 17, 'text-anchor': 'middle' },
				share ? 'p' + String(+(share * 100).toFixed(4)) : 'least'));
	for (const curve of curves) {
		svg.append(makeSvg('path', { class: 'curve', stroke: curve.colour, d: pathOf(curve.points, x, y) }));
		legend.append(make('span', {}, make('i', { style: 'background: ' + curve.colour }),
			curve.label + ', ' + countText(curve.total) + ' faults'));
	}
	byId('percentiles').append(legend, svg);
}

showVerdict();
showOptions();
showTables();
showLog();
showMap();
showCharts();
showTimeline();
showLatency();

if (data.history.columns) {
	addEventListener('resize', drawMap);
	matchMedia('(prefers-color-scheme: dark)').addEventListener('change', drawMap);
	/* Paper is white. */
	addEventListener('beforeprint', () => { document.documentElement.classList.add('print'); drawMap(); });
	addEventListener('afterprint', () => { document.documentElement.classList.remove('print'); drawMap(); });
}
document.documentElement.dataset.ready = 'yes';
