// Looks at a report's page in frames of several widths, as a reader's eyes would: is text cut or outside its
// picture, is a picture empty, can everything be read, does every figure equal results.csv's. Leaves a line for
// each fault, and at the end "checked N", in the element #result.
'use strict';
const faults = [];
let checked = 0;

function expect(fine, frame, what) {
  checked++;
  if (!fine && faults.length < 40) faults.push(`${frame.width} px: ${what}`);
}

// RFC 4180, as far as the program writes it.
function readCsv(text) {
  const rows = [], field = /("(?:[^"]|"")*"|[^,\n]*)(,|\n)/gy;
  let row = [];
  for (let found; (found = field.exec(text)) !== null;) {
    row.push(found[1].startsWith('"') ? found[1].slice(1, -1).replaceAll('""', '"') : found[1]);
    if (found[2] === '\n') rows.push(row.splice(0));
  }
  const header = rows.shift();
  return new Map(rows.map(r => [r[header.indexOf('case')], Object.fromEntries(header.map((name, i) => [name, r[i]]))]));
}

// ---- what is seen

function words(element) {
  return [...element.childNodes].filter(n => n.nodeType === 3).map(n => n.data.trim()).join(' ').trim();
}

function luminance([r, g, b]) {
  const part = v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
}

const channels = color => color.match(/[\d.]+/g).map(Number).slice(0, 3);

function contrast(a, b) {
  const [x, y] = [luminance(channels(a)), luminance(channels(b))].sort((p, q) => q - p);
  return (x + 0.05) / (y + 0.05);
}

function checkText(frame, page) {
  const view = frame.contentWindow, back = view.getComputedStyle(page.body).backgroundColor;
  expect(page.documentElement.scrollWidth <= page.documentElement.clientWidth, frame, 'the page is wider than the window');
  for (const e of page.querySelectorAll('body *')) {
    const text = words(e), style = view.getComputedStyle(e), box = e.getBoundingClientRect();
    if (text === '' || e.closest('svg') !== null || e.tagName === 'STYLE') continue;
    expect(box.height > 0 && (e.clientWidth === 0 || e.scrollWidth <= e.clientWidth), frame, `text is cut: ${text}`);
    expect(e.closest('.scroll') !== null || (box.left >= 0 && box.right <= view.innerWidth + 1), frame, `text is outside: ${text}`);
    expect(contrast(style.color, back) >= 3, frame, `text is hard to read: ${text}`);
  }
}

function checkPicture(frame, svg) {
  const outer = svg.getBoundingClientRect(), name = svg.getAttribute('aria-label'), labels = [];
  expect(outer.width > 200 && outer.height > 150 && svg.querySelectorAll('path, rect').length > 3, frame, `an empty picture: ${name}`);
  for (const text of svg.querySelectorAll('text')) {
    const box = text.getBoundingClientRect();
    if (text.textContent.trim() === '') continue;
    expect(box.left >= outer.left - 1 && box.right <= outer.right + 1 && box.top >= outer.top - 1 && box.bottom <= outer.bottom + 1,
      frame, `${name}: '${text.textContent.trim()}' is outside`);
    const over = labels.find(l => Math.min(l.box.right, box.right) - Math.max(l.box.left, box.left) > 1 &&
      Math.min(l.box.bottom, box.bottom) - Math.max(l.box.top, box.top) > 0.4 * box.height);
    expect(over === undefined, frame, `${name}: '${text.textContent.trim()}' lies on '${over && over.text}'`);
    labels.push({box, text: text.textContent.trim()});
  }
}

// ---- figures

const units = {'ns': 1, 'µs': 1e3, 'ms': 1e6, 's': 1e9};
const near = (a, b, part, least = 0) => Math.abs(a - b) <= Math.max(part * Math.abs(b), least);

// "12.3 µs", "84%", "5.22x": three digits, or fewer of small whole numbers.
function checkFigures(frame, page, csv) {
  for (const cell of page.querySelectorAll('td[data-case]')) {
    const row = csv.get(cell.dataset.case), text = words(cell), column = cell.dataset.column || 'median_ns';
    const [number, unit] = text.split(/[ %]/);
    expect(row !== undefined, frame, `no case ${cell.dataset.case}`);
    if (row === undefined || text === '–') continue;
    const value = column === 'median_ns' ? Number(number) * units[unit] : Number(number);
    expect(column === 'median_ns' ? near(value, row[column], 0.006) : Math.abs(value - row[column]) <= 0.51, frame,
      `${text} is not ${row[column]} of ${cell.dataset.case}`);
  }
}

function checkAnswers(frame, page, csv) {
  for (const line of page.querySelectorAll('table.verdict tr')) {
    const cells = [...line.cells], sides = cells.filter(c => c.dataset.case && !c.dataset.column).map(c => csv.get(c.dataset.case));
    if (sides.length !== 2) continue;
    const [dense, separable] = sides, speedup = dense.median_ns / separable.median_ns;
    const shown = words(cells[3]), ends = cells[3].querySelector('small').textContent.split(' to ');
    if (shown !== '–') expect(near(parseFloat(shown), speedup, 0.006, 0.0051), frame, `${shown} is not ${speedup}`);
    // of a ratio, as of two independent measurements
    const above = r => Math.log(r.ci95_high_ns / r.median_ns), below = r => Math.log(r.median_ns / r.ci95_low_ns);
    if (ends.length === 2)
      expect(near(ends[0], speedup * Math.exp(-Math.hypot(below(dense), above(separable))), 0.006, 0.0051) &&
        near(ends[1], speedup * Math.exp(Math.hypot(above(dense), below(separable))), 0.006, 0.0051), frame,
      `interval of ${shown}: ${ends}`);
    const promised = parseFloat(cells[4].querySelector('small').textContent.slice(3)), realised = words(cells[4]);
    if (realised !== '–') expect(near(parseFloat(realised), 100 * speedup / promised, 0.02, 0.51), frame, `realised ${realised}`);
    // the rule: a figure only of rows with an interval, from enough visits, that nobody disturbed
    const sure = r => r.ci95_low_ns !== '' && Number(r.disturbed) === 0 && Number(r.visits) >= 3;
    expect(shown === '–' || sides.every(sure), frame, `${shown} is shown, and is not sure`);
  }
}

window.addEventListener('load', () => {
  const csv = readCsv(document.getElementById('csv').textContent);
  try {
    for (const frame of document.querySelectorAll('iframe')) {
      const page = frame.contentDocument;
      for (const fold of page.querySelectorAll('details')) fold.open = true;
      checkText(frame, page);
      for (const svg of page.querySelectorAll('figure svg')) checkPicture(frame, svg);
      checkFigures(frame, page, csv);
      checkAnswers(frame, page, csv);
      const dark = luminance(channels(frame.contentWindow.getComputedStyle(page.body).backgroundColor)) < 0.5;
      expect(dark === (location.hash === '#dark'), frame, dark ? 'dark' : 'light');
    }
  } catch (error) {
    faults.push(String(error.stack));
  }
  document.getElementById('result').textContent = [...faults, `checked ${checked}`].join('\n') + '\n';
});
