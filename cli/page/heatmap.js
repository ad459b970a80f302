/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Memory by address and time, on a canvas. */

const PAGES = 0, ABSENT = 1, ZERO = 2, PRESENT = 3, EVICTED = 4, YOUNG = 5, DIRTY = 6, CELLS = 7;
const MAP_HEIGHT = 400, ROW_LEAST = 3, REGION_LEAST = 16, REGION_GAP = 3, MAP_LEFT = 62, MAP_RIGHT = 96, MAP_TOP = 6, MAP_BOTTOM = 24;

const states = [[ABSENT, 'absent'], [ZERO, 'zero'], [PRESENT, 'present'], [EVICTED, 'evicted']];

const map = { view: 'state', cells: null, layout: null };

function unpackCells() {
	const raw = atob(data.history.cells), scale = 2 ** data.history.cell_shift;

	map.cells = new Float64Array(raw.length / 2);
	for (let i = 0; i < map.cells.length; i++)
		map.cells[i] = (raw.charCodeAt(2 * i) + 256 * raw.charCodeAt(2 * i + 1)) * scale;
}

/* A column in which nobody had time to look is as the one before it. */
function sampledColumn(column) {
	while (column > 0 && !data.history.samples[column])
		column--;
	return column;
}

function cellAt(column, row, what) {
	return map.cells[(sampledColumn(column) * data.history.rows + row) * CELLS + what];
}

function parseColour(text) {
	const number = parseInt(text.slice(1), 16);

	return [number >> 16, (number >> 8) & 255, number & 255];
}

function mix(parts) {
	const sum = [0, 0, 0];
	let all = 0;

	for (const [share, rgb] of parts) {
		all += share;
		for (let i = 0; i < 3; i++)
			sum[i] += share * rgb[i];
	}
	return sum.map((value) => value / (all || 1));
}

function paletteNow() {
	const palette = {};

	for (const name of ['absent', 'zero', 'present', 'evicted', 'low', 'young', 'dirty', 'faint', 'line', 'text'])
		palette[name] = parseColour(colour(name));
	return palette;
}

function cellColour(column, row, palette) {
	const pages = cellAt(column, row, PAGES);

	if (!pages)
		return null;
	if (map.view === 'state')
		return mix(states.map(([what, name]) => [cellAt(column, row, what), palette[name]]));
	const [what, of, name] = map.view === 'age' ? [YOUNG, cellAt(column, row, PRESENT), 'young'] :
						      [DIRTY, pages, 'dirty'];
	/* The root, so that few pages of many can be seen. */
	const share = of ? Math.sqrt(Math.min(1, cellAt(column, row, what) / of)) : 0;

	return mix([[1 - share, palette.low], [share, palette[name]]]);
}

/* One pixel a cell; scaled when it is drawn. */
function regionImage(region, palette) {
	const image = document.createElement('canvas');

	image.width = data.history.columns;
	image.height = region.rows;
	const context = image.getContext('2d');
	const pixels = context.createImageData(image.width, image.height);
	for (let row = 0; row < region.rows; row++)
		for (let column = 0; column < image.width; column++) {
			const rgb = cellColour(column, region.first_row + row, palette);
			const at = 4 * (row * image.width + column);

			if (rgb)
				pixels.data.set([rgb[0], rgb[1], rgb[2], 255], at);
		}
	context.putImageData(pixels, 0, 0);
	return image;
}

function layoutRegions() {
	const rowHeight = Math.max(ROW_LEAST, Math.floor(MAP_HEIGHT / data.history.rows));
	let top = MAP_TOP;

	return data.history.regions.map((region) => {
		const height = Math.max(REGION_LEAST, region.rows * rowHeight);
		const place = { region, top, height };

		top += height + REGION_GAP;
		return place;
	});
}

function drawHatching(context, left, top, width, height) {
	context.save();
	context.beginPath();
	context.rect(left, top, width, height);
	context.clip();
	context.strokeStyle = colour('line');
	context.lineWidth = 0.7;
	context.beginPath();
	for (let x = left - height; x < left + width; x += 6) {
		context.moveTo(x, top + height);
		context.lineTo(x + height, top);
	}
	context.stroke();
	context.restore();
}

function drawAddresses(context, place) {
	const region = place.region, bytes = region.pages * data.page_bytes;
	const room = Math.max(1, Math.floor(place.height / 34));

	context.textAlign = 'right';
	context.fillStyle = colour('faint');
	for (const offset of place.height > 40 ? ticks(bytes, room, true) : [0]) {
		const y = place.top + place.height * offset / (region.rows * data.history.row_pages * data.page_bytes);

		/* What would stand on the next region's is left out. */
		if (offset && y > place.top + place.height - 8)
			continue;
		context.fillText(bytesText(region.gpa + offset), MAP_LEFT - 8, Math.max(y + 4, place.top + 9));
		context.fillRect(MAP_LEFT - 5, y, 4, 1);
	}
}

function drawTimes(context, width, height) {
	const total = data.history.columns * data.history.width_ns;

	context.textAlign = 'center';
	context.fillStyle = colour('faint');
	for (const time of timeTicks(total, Math.max(2, Math.floor(width / 110)))) {
		const x = MAP_LEFT + width * time / total;

		context.fillRect(x, height - MAP_BOTTOM + 2, 1, 4);
		context.fillText(axisTime(time, total), Math.min(x, MAP_LEFT + width - 10), height - 6);
	}
}

function drawMap() {
	const canvas = byId('heatmap'), scale = devicePixelRatio || 1, places = layoutRegions();
	const last = places[places.length - 1];
	const width = canvas.clientWidth, height = last.top + last.height + MAP_BOTTOM;
	const plot = width - MAP_LEFT - MAP_RIGHT, palette = paletteNow();

	canvas.style.height = height + 'px';
	canvas.width = Math.round(width * scale);
	canvas.height = Math.round(height * scale);
	const context = canvas.getContext('2d');
	context.scale(scale, scale);
	context.font = '11px system-ui, "DejaVu Sans", sans-serif';
	context.imageSmoothingEnabled = false;
	for (const place of places) {
		drawHatching(context, MAP_LEFT, place.top, plot, place.height);
		context.drawImage(regionImage(place.region, palette), MAP_LEFT, place.top, plot, place.height);
		/* The bracket that marks it. */
		context.fillStyle = colour('faint');
		context.fillRect(MAP_LEFT + plot + 4, place.top, 2, place.height);
		context.textAlign = 'left';
		context.fillText(place.region.name, MAP_LEFT + plot + 11, place.top + Math.min(12, place.height / 2 + 4), MAP_RIGHT - 14);
		drawAddresses(context, place);
	}
	drawTimes(context, plot, height);
	map.layout = { places, plot };
}

function percent(part, whole) {
	return whole ? ' (' + (100 * part / whole).toFixed(part === whole || !part ? 0 : 1) + ' %)' : '';
}

/* What the pointer is on, as text; null: nothing. */
function describeCell(x, y) {
	const { places, plot } = map.layout;
	const place = places.find((one) => y >= one.top && y < one.top + one.height);

	if (!place || x < MAP_LEFT || x >= MAP_LEFT + plot)
		return null;
	const history = data.history, region = place.region;
	const column = Math.floor((x - MAP_LEFT) / plot * history.columns);
	const inRegion = Math.min(region.rows - 1, Math.floor((y - place.top) / place.height * region.rows));
	const row = region.first_row + inRegion;
	const first = region.gpa + inRegion * history.row_pages * data.page_bytes;
	const end = Math.min(first + history.row_pages * data.page_bytes, region.gpa + region.pages * data.page_bytes);
	const pages = cellAt(column, row, PAGES), present = cellAt(column, row, PRESENT);
	const lines = ['GPA 0x' + first.toString(16) + ' – 0x' + (end - 1).toString(16) + ', ' + region.name,
		timeText(column * history.width_ns) + ' – ' + timeText((column + 1) * history.width_ns)];

	if (!pages)
		return lines.concat('in no slot').join('\n');
	lines.push(countText(pages) + ' pages in slots');
	for (const [what, name] of states)
		lines.push(name + ' ' + countText(cellAt(column, row, what)) + percent(cellAt(column, row, what), pages));
	lines.push('young ' + countText(cellAt(column, row, YOUNG)) + percent(cellAt(column, row, YOUNG), present) + ' of the present');
	lines.push('dirty ' + countText(cellAt(column, row, DIRTY)) + percent(cellAt(column, row, DIRTY), pages));
	return lines.join('\n');
}

function showLegend() {
	const legend = byId('map-legend'), scale = (name, text) =>
		[make('span', {}, make('i', { style: 'background: var(--low)' }), 'none of ' + text), make('span', {}, make('i', { class: 'wide',
			style: 'background: linear-gradient(90deg, var(--low), var(--' + name + '))' }), 'all; 25 % is in the middle')];

	legend.replaceChildren(...map.view === 'age' ? scale('young', 'the present pages is young') :
		map.view === 'dirty' ? scale('dirty', 'the pages was written since the last harvest') :
		states.map(([, name]) => make('span', {}, make('i', { style: 'background: var(--' + name + ')' }), name)));
	legend.append(make('span', {}, make('i', { class: 'none' }), 'in no slot'));
}

function showView(view) {
	map.view = view;
	for (const button of document.querySelectorAll('.switch button'))
		button.setAttribute('aria-pressed', String(button.dataset.view === view));
	showLegend();
	drawMap();
}

function showMap() {
	const canvas = byId('heatmap');

	if (!data.history.columns)
		return;
	byId('map').hidden = false;
	unpackCells();
	byId('row-pages').textContent = bytesText(data.history.row_pages * data.page_bytes);
	byId('column-time').textContent = timeText(data.history.width_ns);
	for (const button of document.querySelectorAll('.switch button'))
		button.addEventListener('click', () => showView(button.dataset.view));
	canvas.addEventListener('mousemove', (event) => {
		const box = canvas.getBoundingClientRect();
		const text = describeCell(event.clientX - box.left, event.clientY - box.top);

		if (text)
			showTip(event, text);
		else
			hideTip();
	});
	canvas.addEventListener('mouseleave', hideTip);
	const wanted = location.hash.slice(1);
	showView(['state', 'age', 'dirty'].includes(wanted) ? wanted : 'state');
}
