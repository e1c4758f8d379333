"""Train runs and watch them."""

import streamlit as st

from explorer.ui import train, urls

st.title("Train your own")
st.markdown(
    "Choose a preset and one or more balancing rules. Two runs train at once, the others wait in line. "
    "You may close this tab; stopping the app stops the training, and what was recorded stays."
)
urls.show_notices("runs")
train.now_training()
train.order_form()
