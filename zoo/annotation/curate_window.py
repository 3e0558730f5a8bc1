"""The window of the curation: the picture, the cell in question, its trace."""

import numpy as np

from calzoo.imaging.contours import display_range, outline_polygons

_KEEP, _DROP, _OTHER, _DROPPED = "#ffb000", "#dc267f", "#648fff", "#555555"
_AROUND = 40  # pixels that are shown around a cell


class CurationWindow:
    """A matplotlib figure that shows one cell at a time.

    Left and right go to the previous and to the next cell, Enter keeps or drops the
    current one, Esc saves and closes. Closing the window saves too.

    Parameters
    ----------
    curation : Curation
    picture : ndarray, (Y, X)
        For example the mean of the movie.
    traces : ndarray, (N, T), optional
    """

    def __init__(self, curation, picture, traces=None):
        from matplotlib import pyplot

        self.curation, self._traces = curation, traces
        self._outlines = [
            polygons[0] if polygons else np.empty((0, 2)) for polygons in outline_polygons(curation.masks)
        ]
        self._centers = curation.masks.centers
        self.figure = pyplot.figure("calzoo curate", figsize=(11, 7))
        grid = self.figure.add_gridspec(2, 2, height_ratios=(4, 1), width_ratios=(1, 1))
        self._whole = self.figure.add_subplot(grid[0, 0])
        self._near = self.figure.add_subplot(grid[0, 1])
        self._trace = self.figure.add_subplot(grid[1, :])
        low, high = display_range(picture)
        for axes in (self._whole, self._near):
            axes.imshow(picture, cmap="gray", vmin=low, vmax=high)
            axes.set_axis_off()
        self._lines = [axes.add_collection(self._collection()) for axes in (self._whole, self._near)]
        # The window's own keys would pan and quit.
        manager = getattr(self.figure.canvas, "manager", None)
        handler = getattr(manager, "key_press_handler_id", None)
        if handler is not None:
            self.figure.canvas.mpl_disconnect(handler)
        self.figure.canvas.mpl_connect("key_press_event", self.on_key)
        self.figure.canvas.mpl_connect("close_event", lambda _: self.curation.save())
        self.draw()

    def on_key(self, event):
        """Do what a key says."""
        if event.key == "right":
            self.curation.step(1)
        elif event.key == "left":
            self.curation.step(-1)
        elif event.key == "enter":
            self.curation.toggle()
        elif event.key == "escape":
            self.close()
            return
        else:
            return
        self.draw()

    def close(self):
        """Save and close."""
        from matplotlib import pyplot

        self.curation.save()
        pyplot.close(self.figure)

    def _collection(self):
        """Return the outlines of all cells as one artist, which a key does not make anew."""
        from matplotlib.collections import LineCollection

        return LineCollection(
            [np.concatenate([outline, outline[:1]])[:, ::-1] for outline in self._outlines], zorder=2
        )

    def _styles(self):
        """Return the colour and the width of each outline."""
        colours = np.where(self.curation.kept, _OTHER, _DROPPED).tolist()
        widths = np.full(len(colours), 0.6)
        if colours:
            current = self.curation.current
            colours[current] = _KEEP if self.curation.kept[current] else _DROP
            widths[current] = 2.0
        return colours, widths

    def draw(self):
        """Show the current cell."""
        current = self.curation.current
        colours, widths = self._styles()
        for lines in self._lines:
            lines.set_color(colours)
            lines.set_linewidth(widths)
        self._trace.clear()
        if len(self._outlines):
            y, x = self._centers[current]
            self._near.set_xlim(x - _AROUND, x + _AROUND)
            self._near.set_ylim(y + _AROUND, y - _AROUND)
            if self._traces is not None:
                self._trace.plot(self._traces[current], color=_KEEP, linewidth=0.7)
        self.figure.suptitle(self.title())
        self.figure.canvas.draw_idle()

    def title(self):
        """Return what is written above the pictures."""
        curation = self.curation
        if not len(curation.masks):
            return "no cells (Esc closes)"
        word = "kept" if curation.kept[curation.current] else "dropped"
        keys = "left/right: previous/next, Enter: keep or drop, Esc: save and close"
        count = f"{int(curation.kept.sum())} kept"
        return f"cell {curation.current + 1} of {len(curation.masks)}: {word}     {count}     {keys}"
