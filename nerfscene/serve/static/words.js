// Numbers as people say them; the pages' own are made by serve/words.py.

export function count(number, one) {
  return `${number.toLocaleString("en")} ${number === 1 ? one : `${one}s`}`;
}

export function size(bytes) {
  if (bytes >= 1e9) return `${(bytes / 1e9).toFixed(bytes >= 1e10 ? 0 : 1)} GB`;
  if (bytes >= 1e6) return `${(bytes / 1e6).toFixed(bytes >= 1e7 ? 0 : 1)} MB`;
  return `${Math.ceil(bytes / 1e3)} kB`;
}

export function length(seconds) {
  if (seconds < 50) return count(Math.max(5, 5 * Math.round(seconds / 5)), "second");
  if (seconds < 3000) return `about ${count(Math.max(1, Math.round(seconds / 60)), "minute")}`;
  return `about ${count(Math.max(1, Math.round(seconds / 3600)), "hour")}`;
}

export function sentence(text) {
  const told = text.trim();
  if (!told) return "";
  return told.charAt(0).toUpperCase() + told.slice(1) + (/[.!?…]$/.test(told) ? "" : ".");
}
